"""`bayesden doctor`: whether the installation works."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from .console import say

__all__ = ["doctor"]

WORDS = {"ok": "ok", "absent": "-", "warning": "warning", "failed": "FAILED"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of lines.")] = False,
) -> int:
    """Run `bayesden doctor`; `pages.py` has what it says of itself."""
    from ..installation import check_installation

    checks = []
    for check in check_installation():
        checks.append(check)
        if not as_json:
            say(f"{WORDS[check.status]:<8} {check.name:<16} {check.found}")
    failed = [check.name for check in checks if check.status == "failed"]
    if as_json:
        say(json.dumps({"works": not failed, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        warnings = sum(check.status == "warning" for check in checks)
        verdict = f"does not work: {', '.join(failed)}" if failed else "works"
        say(f"\nbayesden {verdict}" + (f"; {warnings} warning{'s' * (warnings > 1)}" if warnings else ""))
    return 1 if failed else 0
