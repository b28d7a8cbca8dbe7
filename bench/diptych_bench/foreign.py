"""Ways that run in processes of their own, some with libraries that are not Diptych's."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ALONE: Final = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}


def python_with(*packages: str) -> list[str]:
    """Return the command of a Python that has these packages alone, which uv installs; ours where there are none."""
    return _python(["--no-project"], packages)


def ours_with(*packages: str) -> list[str]:
    """Return the command of our own Python, with packages beside those that it has."""
    return _python(["--frozen", "--no-sync"], packages)


def _python(how: list[str], packages: tuple[str, ...]) -> list[str]:
    if not packages:
        return [sys.executable]
    beside = [x for package in packages for x in ("--with", package)]
    return [os.environ.get("UV", "uv"), "run", "--quiet", *how, *beside, "python"]


def answer(python: list[str], file: Path, *arguments: str | Path) -> Mapping[str, Any]:
    """Return what a program says in its last line, a JSON object; one thread computes."""
    command = [*python, str(file), *map(str, arguments)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | ALONE)  # noqa: S603 - ours
    return dict(json.loads(ended.stdout.splitlines()[-1]))
