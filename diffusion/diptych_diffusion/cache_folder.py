"""Where this machine keeps what it downloaded."""

import os
from pathlib import Path

from diptych_api.names import CACHE_VARIABLE


def cache_folder() -> Path:
    """Return the folder: `DIPTYCH_CACHE`, else `diptych` in `XDG_CACHE_HOME` or `~/.cache`. It may be deleted."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diptych"
