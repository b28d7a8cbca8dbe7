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
    if not packages:
        return [sys.executable]
    uv = os.environ.get("UV", "uv")
    return [uv, "run", "--quiet", "--no-project", *(x for package in packages for x in ("--with", package)), "python"]


def ours_with(*packages: str) -> list[str]:
    """Return the command of our own Python, with packages beside those that it has."""
    if not packages:
        return [sys.executable]
    uv = os.environ.get("UV", "uv")
    beside = [x for package in packages for x in ("--with", package)]
    return [uv, "run", "--quiet", "--frozen", "--no-sync", *beside, "python"]


def answer(python: list[str], file: Path, *arguments: str | Path) -> Mapping[str, Any]:
    """Return what a program says in its last line, a JSON object; one thread computes."""
    command = [*python, str(file), *map(str, arguments)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | ALONE)  # noqa: S603 - ours
    return dict(json.loads(ended.stdout.splitlines()[-1]))
