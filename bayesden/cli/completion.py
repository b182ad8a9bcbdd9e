"""What a shell offers on the Tab key besides commands, options and choices: models, and windows of wavelengths.

Where nothing is offered, bash, zsh and fish offer files, which they do better than a program can.
"""

from pathlib import Path

__all__ = ["WINDOW_NAMES", "models", "windows"]

WINDOW_NAMES = (
    "CaHK",
    "Hdelta",
    "Gband",
    "Hbeta",
    "Mgb",
    "NaD",
    "Halpha",
    "CaT",
)  # those of report.view, which is heavy


def models(incomplete: str) -> list[str]:
    """Names of shipped models."""
    folder = Path(__file__).parent.parent / "pretrained"
    return sorted(path.stem for path in folder.glob("*.safetensors") if path.stem.startswith(incomplete))


def windows(incomplete: str) -> list[str]:
    """Names of windows about lines."""
    return [name for name in WINDOW_NAMES if name.lower().startswith(incomplete.lower())]
