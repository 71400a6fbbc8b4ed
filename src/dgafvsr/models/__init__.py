"""Networks only: no loops over time or noise."""
