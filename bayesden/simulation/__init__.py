"""Spectra whose truth is known."""
