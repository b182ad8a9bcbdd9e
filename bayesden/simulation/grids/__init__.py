"""Grids of noiseless spectra: parameters in, high-resolution flux out."""
