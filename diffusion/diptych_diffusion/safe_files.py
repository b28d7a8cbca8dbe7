"""Model files from strangers: refuse what can run code, leave the folder or exhaust the machine, before it is read."""

import json
import math
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from diptych_api.errors import BaseInvalid, DiptychError

CODE_SUFFIXES: Final = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth", ".py"})
MAX_FILES: Final = 10_000
MAX_FILE_BYTES: Final = 64 << 30
MAX_FOLDER_BYTES: Final = 128 << 30
MAX_JSON_BYTES: Final = 32 << 20
MAX_HEADER_BYTES: Final = 8 << 20
MAX_TENSORS: Final = 20_000
MAX_DIMENSIONS: Final = 16
ITEM_BYTES: Final = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}


def check_folder(folder: Path, *, error: type[DiptychError] = BaseInvalid) -> None:
    """Refuse a folder that holds pickles, code, links to elsewhere, special files or absurd sizes.

    Raises:
        error: with the name of the first offending file.

    """
    if not folder.is_dir():
        raise error(f"{folder} is not a folder.", hint="Give the folder that holds the model's files.")
    root, total = Path(os.path.realpath(folder)), 0
    for count, path in enumerate(_entries(folder), start=1):
        _check_entry(path, root, error)
        size = path.stat().st_size if path.is_file() else 0
        total += size
        if count > MAX_FILES or size > MAX_FILE_BYTES or total > MAX_FOLDER_BYTES:
            raise error(f"{folder} is too large for a model: stopped at {path.name} after {count} files.")


def _entries(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        yield from (Path(here, name) for name in [*folders, *files])


def _check_entry(path: Path, root: Path, error: type[DiptychError]) -> None:
    if not Path(os.path.realpath(path)).is_relative_to(root):
        raise error(f"{path} is a link that leaves its folder.", hint="Copy the file itself: cp -rL FOLDER COPY.")
    if not path.exists():
        raise error(f"{path} is a link to nothing.")
    if not (stat.S_ISREG(path.stat().st_mode) or path.is_dir()):
        raise error(f"{path} is neither a file nor a folder.")
    if path.suffix.lower() in CODE_SUFFIXES:
        raise error(
            f"{path} can run code when it is loaded; Diptych reads safetensors and JSON only.",
            hint="Convert the weights to safetensors, or remove the file if a .safetensors of the same part is there.",
        )


def read_json(path: Path, *, error: type[DiptychError] = BaseInvalid) -> dict[str, Any]:
    """Return the JSON object in a file of at most 32 MiB."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise error(f"{path} is larger than {MAX_JSON_BYTES >> 20} MiB.")
        content = json.loads(path.read_bytes())
    except OSError as cause:
        raise error(f"{path} cannot be read: {cause.strerror}.") from cause
    except (ValueError, RecursionError) as cause:
        raise error(f"{path} is not JSON: {cause}") from cause
    if not isinstance(content, dict):
        raise error(f"{path} holds a {type(content).__name__}, not an object.")
    return content


def read_header(path: Path, *, error: type[DiptychError] = BaseInvalid) -> dict[str, Any]:
    """Return the header of a safetensors file: tensor name to dtype, shape and data_offsets, plus ``__metadata__``.

    Reads the header only, and checks that its offsets fill the rest of the file without gap or overlap.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(MAX_HEADER_BYTES, size - 8):  # noqa: PLR2004 - the length field is 8 bytes
                raise error(f"{path} is not a safetensors file: its header would be {length} bytes of {size}.")
            header = json.loads(file.read(length), object_pairs_hook=_without_duplicates)
    except OSError as cause:
        raise error(f"{path} cannot be read: {cause.strerror}.") from cause
    except (ValueError, RecursionError) as cause:
        raise error(f"{path} has a broken safetensors header: {cause}") from cause
    problem = _problem(header, size - 8 - length)
    if problem:
        raise error(f"{path} has a broken safetensors header: {problem}.")
    return dict(header)


def load_tensors(path: Path, *, error: type[DiptychError] = BaseInvalid) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file on the CPU, in their stored dtypes, once its header is checked."""
    read_header(path, error=error)
    try:
        return load_file(path)
    except SafetensorError as cause:
        raise error(f"{path} cannot be read: {cause}") from cause


def load_stored(folder: Path, files: list[str], *, error: type[DiptychError] = BaseInvalid) -> dict[str, Tensor]:
    """Return the tensors of all shards together; the same name in two shards is an error."""
    tensors: dict[str, Tensor] = {}
    for name in files:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise error(f"{folder} has an index that names the file {name!r}.")
        shard = load_tensors(folder / name, error=error)
        if twice := shard.keys() & tensors.keys():
            raise error(f"{folder / name} holds {min(twice)}, which another shard holds too.")
        tensors |= shard
    return tensors


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name occurs twice")
    return content


def _problem(header: object, data_bytes: int) -> str:
    if not isinstance(header, dict):
        return "it is not an object"
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        return "its metadata are not strings"
    if len(tensors) > MAX_TENSORS:
        return f"it lists {len(tensors)} tensors, more than {MAX_TENSORS}"
    for name, entry in tensors.items():
        if not _is_consistent(entry):
            return f"the entry of {name[:80]!r} contradicts itself"
    end = 0
    for begin, following in sorted(entry["data_offsets"] for entry in tensors.values()):
        if begin != end:
            return "its tensors overlap or leave a gap"
        end = following
    return "" if end == data_bytes else f"its tensors take {end} bytes and the file holds {data_bytes}"


def _is_consistent(entry: object) -> bool:
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(begin), int(end)], **rest} if not rest:
            sizes_are_counts = all(type(size) is int and size >= 0 for size in shape)
            return (
                dtype in ITEM_BYTES
                and len(shape) <= MAX_DIMENSIONS
                and sizes_are_counts
                and 0 <= begin <= end
                and end - begin == math.prod(shape) * ITEM_BYTES[dtype]
            )
    return False
