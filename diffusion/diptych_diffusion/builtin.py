"""Bases that come inside the package."""

from importlib import resources
from pathlib import Path

from diptych_api.errors import BaseInvalid


def builtin_folder(name: str) -> Path:
    """Return the pipeline folder of a builtin base; ``tiny-emoji`` lies in ``bases/tiny_emoji``."""
    bases = resources.files("diptych_diffusion") / "bases"
    folder = bases / name.replace("-", "_")
    if not (isinstance(folder, Path) and (folder / "model_index.json").is_file()):
        raise BaseInvalid(
            f"The builtin base {name!r} is not in this installation.",
            hint=f"Expected model_index.json in {folder}; reinstall Diptych, unpacked, or name a base by uri.",
        )
    return folder
