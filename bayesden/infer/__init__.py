"""Engines that turn observations into posteriors."""
