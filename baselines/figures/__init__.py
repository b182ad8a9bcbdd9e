"""The papers' figures, remade for all methods side by side: a function and a module for each."""
