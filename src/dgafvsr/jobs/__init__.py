"""A file to a file."""
