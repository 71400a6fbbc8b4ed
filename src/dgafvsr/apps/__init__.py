"""Command line and web: parse, call, show."""
