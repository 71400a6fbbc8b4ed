"""Training material: photographs, clips, synthetic motion and the reduction to LR frames.

Every sample is a function of (seed, index) alone, so runs can be resumed, split over workers and repeated.
"""
