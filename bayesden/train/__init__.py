"""From spectra to a trained model."""
