"""Scores of posteriors: metrics and test beds."""
