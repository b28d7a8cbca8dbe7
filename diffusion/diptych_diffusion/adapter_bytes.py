"""The files of an adapter: which one holds the tensors, and how it is written."""

import json
import struct
from pathlib import Path
from typing import Any, Final

from safetensors.torch import save
from torch import Tensor

from diptych_api.errors import AdapterInvalid
from diptych_diffusion.safe_files import CODE_SUFFIXES

PEFT_WEIGHTS: Final = "adapter_model.safetensors"
DIFFUSERS_WEIGHTS: Final = "pytorch_lora_weights.safetensors"


def find_weights(path: Path) -> Path:
    """Return the file with the tensors in a folder, or the file that ``path`` is. Raises AdapterInvalid."""
    if path.is_file():
        if path.suffix != ".safetensors":
            raise AdapterInvalid(f"{path} is not a .safetensors file.", hint="Convert it; pickles are never loaded.")
        return path
    if not path.is_dir():
        raise AdapterInvalid(f"{path} is neither a file nor a folder.")
    names = sorted(file.name for file in path.iterdir() if file.suffix == ".safetensors")
    for usual in (PEFT_WEIGHTS, DIFFUSERS_WEIGHTS):
        if usual in names:
            return path / usual
    if len(names) == 1:
        return path / names[0]
    pickles = sorted(file.name for file in path.iterdir() if file.suffix in CODE_SUFFIXES)
    found = f"several: {', '.join(names[:3])}" if names else f"only {pickles[0]}" if pickles else "none"
    raise AdapterInvalid(f"{path} must hold one .safetensors file; it has {found}.", hint="Pickles are never loaded.")


def parse_settings(file: Path, key: str, text: str) -> dict[str, Any]:
    """Return the JSON object in the header of ``file`` under ``key``. Raises AdapterInvalid."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise AdapterInvalid(f"The header of {file} has a broken {key}.") from cause
    if not isinstance(content, dict):
        raise AdapterInvalid(f"The header of {file} has a broken {key}.")
    return content


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> Path:
    """Write a safetensors file whose header is sorted: the library's own order of metadata changes at every call."""
    raw = save(tensors)
    length = int.from_bytes(raw[:8], "little")
    entries = json.loads(raw[8 : 8 + length])
    header = json.dumps({"__metadata__": {"format": "pt", **dict(sorted(metadata.items()))}, **entries}).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + raw[8 + length :])
    return path
