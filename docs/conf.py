"""Sphinx configuration."""

import hashlib
import json
import os
import sys
from functools import partialmethod
from pathlib import Path

from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
BUILD = ROOT / "docs" / "_build"

# The notebooks run in folders of their own, with this Python, this checkout and its commands, whatever else is installed.
KERNEL = {"argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"]}
(BUILD / "jupyter/kernels/python3").mkdir(parents=True, exist_ok=True)
(BUILD / "jupyter/kernels/python3/kernel.json").write_text(
    json.dumps(KERNEL | {"display_name": "Python 3", "language": "python"})
)
os.environ["JUPYTER_PATH"] = str(BUILD / "jupyter")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
# What others' packages announce on import: ArviZ its successor, tqdm that a notebook has no widgets.
os.environ["PYTHONWARNINGS"] = "ignore::FutureWarning:arviz,ignore:IProgress not found"

# What a shell cell prints arrives in pieces of 100 bytes: they are put together again.
NotebookClient.__init__ = partialmethod(NotebookClient.__init__, coalesce_streams=True)

project = "bayesden"
author = "the bayesden developers"
copyright = "2026, the bayesden developers"

extensions = ["myst_nb", "sphinx.ext.mathjax", "sphinx_copybutton", "sphinx_design"]
exclude_patterns = ["_build"]
nitpicky = True

# Pages, and notebooks as MyST text: a change of one is a readable diff, and there is no output to go stale.
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3


def _fingerprint() -> str:
    """Of what the notebooks compute with, so that no output outlives the code that made it."""
    digest = hashlib.sha256()
    for folder in ("bayesden", "baselines"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


# Notebooks run at build time, each in an empty folder of its own; one that raises, or that says something on
# standard error, fails the build.
nb_execution_mode = "cache"
nb_execution_cache_path = str(BUILD / "executed" / _fingerprint())
nb_execution_in_temp = True
nb_execution_timeout = 600  # of a cell, s
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_output_stderr = "warn"

html_theme = "pydata_sphinx_theme"
html_title = "bayesden"
html_static_path = ["_static"]
html_css_files = ["bayesden.css"]
html_theme_options = {
    "header_links_before_dropdown": 7,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
}
html_sidebars = {"index": [], "install": []}  # pages without siblings
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
