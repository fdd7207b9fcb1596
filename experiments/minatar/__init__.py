"""Scores on MinAtar beside the published ones."""
