"""The methods to beat, behind one interface: ``fit`` makes an object whose ``denoise`` returns a `Posterior`."""
