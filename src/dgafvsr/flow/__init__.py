"""FM: optical flow between neighbouring frames."""
