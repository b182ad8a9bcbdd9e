"""The parts of the joint density, and the joint density itself."""
