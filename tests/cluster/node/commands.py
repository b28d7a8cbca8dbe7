"""Commands of this machine, with what they said when they fail."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from diptych_api.errors import RunFailed

TAIL = 2000


def output(command: Sequence[str | Path], *, hint: str = "", environment: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it prints. Raises RunFailed with what it complained of."""
    done = subprocess.run(
        command, env=os.environ | dict(environment or {}), capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        said = done.stderr.strip()[-TAIL:]
        raise RunFailed(f"`{' '.join(map(str, command))}` failed with {done.returncode}: {said}", hint=hint)
    return done.stdout
