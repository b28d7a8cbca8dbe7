"""Where an adapter's files are: a folder or file on this machine, or a copy of one in an object store."""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from diptych_api.artifact import FOLDERS, ArtifactRecord, files_digest
from diptych_api.errors import AdapterInvalid
from diptych_api.runstore import ARTIFACT_FILE
from diptych_diffusion.adapter_files import TEXT_FOLDER
from diptych_diffusion.fetch import VERSION_KEYS, wanted_files
from diptych_diffusion.fingerprint import file_digest
from diptych_diffusion.folder_kinds import INDEX, holds_forms
from diptych_diffusion.object_store import file_system
from diptych_diffusion.store_copy import download, refusals

LARGEST: Final = 16 << 30
"""Of a pipeline in fp32 with room to spare."""
DEEPEST: Final = 2
SERVED: Final = (FOLDERS["PEFT"], FOLDERS["Pipeline"])
"""The forms of an artifact that are served beside a base, the first that is there."""
WANTED: Final = (".safetensors", ".json")


def fetch_adapter(uri: str, cache_dir: Path) -> Path:
    """Return a local folder or file of a LoRA or of a whole UNet; an artifact's folder means the form that is served.

    Raises:
        AdapterInvalid: when nothing is there, or it is too large to be an adapter.
        UnsupportedHere: for a kind of place that no installed package knows.
        RetryLater: when the place did not answer.

    """
    if "://" in uri and not uri.startswith("file://"):
        with refusals(uri, AdapterInvalid):
            return _copy(uri, cache_dir / "adapters")
    path = Path(uri.removeprefix("file://")).expanduser()
    if not path.exists():
        raise AdapterInvalid(f"There is no {path} on this machine.", hint="Check the adapter's uri.")
    if not holds_forms(lambda name: (path / name).is_file()):
        return path
    return path / _form(str(path), {form for form in SERVED if (path / form).is_dir()})


def artifact_digest(folder: Path) -> str | None:
    """Return the digest of the artifact that a fetched folder is a form of, by which a job tells it; else None.

    Raises:
        AdapterInvalid: when a file is not the one that artifact.json names.

    """
    record = _record(folder)
    if record is None:
        return None
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        known = record.files.get(path.relative_to(folder.parent).as_posix())
        if known is None or known.sha256 != file_digest(path):
            raise AdapterInvalid(f"{path} is not the file that {ARTIFACT_FILE} names.", hint="Copy the artifact again.")
    return files_digest(record.files)


def artifact_step(folder: Path) -> int | None:
    """Return the optimiser step that a fetched folder's artifact tells; None without one. Raises AdapterInvalid."""
    record = _record(folder)
    return None if record is None else record.step


def _record(folder: Path) -> ArtifactRecord | None:
    place = folder.parent / ARTIFACT_FILE
    try:
        return ArtifactRecord.model_validate_json(place.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as cause:
        raise AdapterInvalid(f"{place} is no artifact's record: {cause}") from cause


def _copy(uri: str, cache_dir: Path) -> Path:
    """Copy the adapter's files, under a name that no other state of them has; of an artifact, its record too."""
    files, root = file_system(uri)
    record, form = f"{root}/{ARTIFACT_FILE}", "."
    if holds_forms(lambda name: files.exists(f"{root}/{name}")):
        form = _form(uri, {form for form in SERVED if files.exists(f"{root}/{form}")})
    place = root if form == "." else f"{root}/{form}"
    entries = files.find(place, maxdepth=DEEPEST, detail=True)
    names = _wanted({_relative(path, place): path for path in entries})
    if not names:
        raise AdapterInvalid(f"{uri} holds no .safetensors file.", hint="Give an adapter's folder or file.")
    found = {f"{form}/{name}": entries[path] for name, path in names.items()}
    if sum(int(entry.get("size") or 0) for entry in found.values()) > LARGEST:
        raise AdapterInvalid(f"{uri} is larger than {LARGEST >> 30} GiB.", hint="That is no adapter.")
    if form != ".":
        found[ARTIFACT_FILE] = files.info(record)
    state = sorted(f"{name} {[entry.get(key) for key in VERSION_KEYS]}" for name, entry in found.items())
    folder = cache_dir / hashlib.sha256("\n".join([uri, *state]).encode()).hexdigest()[:32]
    if not folder.exists():
        download(files, {name: str(entry["name"]) for name, entry in found.items()}, folder)
    return folder / form


def _form(place: str, there: Collection[str]) -> str:
    """Return the folder of an artifact that is served. Raises AdapterInvalid."""
    for form in SERVED:
        if form in there:
            return form
    raise AdapterInvalid(f"The artifact {place} has neither of {', '.join(SERVED)}.", hint="Export it as PEFT.")


def _relative(path: str, root: str) -> str:
    """Return the name of a file below ``root``, or of the file that ``root`` is."""
    return path.removeprefix(root).lstrip("/") or path.rsplit("/", 1)[-1]


def _wanted(places: Mapping[str, str]) -> dict[str, str]:
    """Return what is read: a pipeline's files, or the .safetensors and .json of a folder and its part for CLIP."""
    if INDEX in places:
        return {name: places[name] for name in wanted_files(places)}
    own = f"{TEXT_FOLDER}/"
    return {n: place for n, place in places.items() if "/" not in n.removeprefix(own) and n.endswith(WANTED)}
