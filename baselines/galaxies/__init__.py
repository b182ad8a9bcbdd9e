"""Test bed B4: spectra of galaxies, after Kim, Lee & Rey (2026), as far as their paper tells how."""
