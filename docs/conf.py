"""Sphinx configuration."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

project = "bayesden"
author = "the bayesden developers"
copyright = "2026, the bayesden developers"

extensions = ["myst_parser", "sphinx.ext.mathjax"]
myst_enable_extensions = ["amsmath", "deflist", "dollarmath", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
nitpicky = True

html_theme = "pydata_sphinx_theme"
html_title = "bayesden"
html_static_path = ["_static"]
html_theme_options = {"navigation_with_keys": False, "show_prev_next": True, "secondary_sidebar_items": ["page-toc"]}
html_show_sourcelink = False

# --- Reference: Python from docstrings, commands from the program ---
sys.path.insert(0, str(Path(__file__).resolve().parent))
extensions += ["reference_pages", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
default_role = "code"  # docstrings write `name` as Markdown does
napoleon_numpy_docstring = False
python_maximum_signature_line_length = 88
nitpick_ignore_regex = [("py:.*", ".*")]  # annotations name NumPy, PyTorch, Matplotlib: no pages of theirs at hand
