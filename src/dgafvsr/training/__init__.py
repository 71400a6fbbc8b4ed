"""Training the autoencoder, the denoiser and the guidance network."""
