"""Instruments: what a spectrograph makes of a star's light."""
