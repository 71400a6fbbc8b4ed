"""The method in the paper's words: OGWM, FTCM, sweeps and the sampler."""
