"""Scoring frames against ground truth."""
