"""A copy of a folder in an object store."""

import hashlib
import json
from pathlib import Path

from diptych_api.errors import DatasetInvalid
from diptych_diffusion.archive import Limits
from diptych_diffusion.download import explanation, file_system, public
from diptych_diffusion.names import safe_parts
from diptych_diffusion.staging import FILES, UNWRITABLE, is_complete, staged


def mirror(uri: str, workdir: Path) -> Path:
    """Return a local copy of the folder at ``uri``; it is found again while the store lists the same files.

    Raises DatasetInvalid for names that leave the folder, too many files, and where nothing is there.
    """
    fs, path = file_system(uri)
    try:
        listed = fs.find(path, detail=True)
        found = {name: info for name, info in listed.items() if info["type"] == "file" and not name.endswith("/")}
        _refuse_excess(uri, [int(info["size"] or 0) for info in found.values()])
        prefix = path.rstrip("/") + "/"
        relative = {name: safe_parts(name.removeprefix(prefix)) for name in found}
        state = json.dumps([uri, found], sort_keys=True, default=str)
        final = workdir / hashlib.sha256(state.encode()).hexdigest()
        if not is_complete(final):
            with staged(final) as folder:
                targets = [folder.joinpath(*parts) for parts in relative.values()]
                for parent in {target.parent for target in targets}:
                    parent.mkdir(parents=True, exist_ok=True)
                fs.get(list(relative), [str(target) for target in targets])
    except DatasetInvalid:
        raise
    except Exception as error:  # each file system brings its own network errors
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            raise
        raise explanation(uri, error) from error
    return final / FILES


def _refuse_excess(uri: str, sizes: list[int]) -> None:
    limits = Limits()
    if not sizes:
        raise DatasetInvalid(f"There is nothing at {public(uri)}.", hint="Check spec.dataset.source.uri.")
    if len(sizes) > limits.files or sum(sizes) > limits.total_bytes:
        raise DatasetInvalid(
            f"{public(uri)} holds {len(sizes)} files and {sum(sizes)} bytes; allowed are {limits.files} and "
            f"{limits.total_bytes}.",
            hint="Split it up.",
        )
