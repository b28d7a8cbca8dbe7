"""A prepared data set as one archive, to be read again by any job: the same pictures give the same bytes.

NAME-DIGEST.tar has the card, metadata.jsonl in the ImageFolder layout, and the pictures. NAME-DIGEST.json, which says
what is in it, is written last: where it stands, nothing is to be done.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from diptych_diffusion.fingerprint import file_digest
from diptych_diffusion.object_store import file_system
from diptych_training.data.card import CARD, FACTS, PREVIEW
from diptych_training.data.credits import credit_files
from diptych_training.data.entry import Entry, Manifest, verify
from diptych_training.data.image_folder import JSON_NAME
from diptych_training.run_store import RunStore
from diptych_training.run_store_errors import writing
from diptych_training.run_store_local import make_folder

FORMAT: Final = "diptych.dataset/1"
PICTURES: Final = "pictures"
DIGITS: Final = 16
Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Packed:
    """Where an archive is, and what it is."""

    uri: str
    sha256: str
    bytes: int
    pictures: int
    made: bool
    """Whether it was written now; False where it was there."""


def pack(manifest: Manifest, described: Path, name: str, target: str, tell: Tell) -> Packed:
    """Write a data set's archive below ``target``, a folder or s3:// or gs://; ``described`` has card and sheets.

    For an object store it is made in ``described`` first, because it goes there whole or not at all.

    Raises:
        DatasetInvalid: when a picture changed since it was prepared.
        StoreUnwritable: when the target or this machine's disk takes no more.

    """
    fs, root = file_system(target)
    store = RunStore(fs, root.rstrip("/"))
    stem = f"{name}-{_identity(manifest, described)[:DIGITS]}"
    file, about = f"{stem}.tar", f"{stem}.json"
    told = _told(store.read_bytes(about))
    if told is not None and store.sizes(file).get(".") == told["bytes"]:
        return Packed(store.uri(file), **told, made=False)
    built = (store.local() or described) / f".{file}"
    with writing(str(built), is_remote=False):
        make_folder(built.parent)
        _write(manifest, described, built, tell)
    told = {"sha256": file_digest(built), "bytes": built.stat().st_size, "pictures": _count(manifest)}
    with writing(store.uri(file), is_remote=not store.is_local):
        if local := store.local(file):
            built.replace(local)
        else:
            fs.put_file(str(built), f"{store.root}/{file}")
            built.unlink()
    store.write_json(about, {"format": FORMAT, "digest": f"sha256:{manifest.digest}", **told})
    return Packed(store.uri(file), **told, made=True)


def _identity(manifest: Manifest, described: Path) -> str:
    """Return what an archive's bytes depend on, as a digest: the pictures, captions and sides, and the files beside."""
    beside = {name: hashlib.sha256(data).hexdigest() for name, data in _beside(manifest, described)}
    return hashlib.sha256(json.dumps([FORMAT, manifest.digest, beside], sort_keys=True).encode()).hexdigest()


def _write(manifest: Manifest, described: Path, archive: Path, tell: Tell) -> None:
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in _beside(manifest, described):
            _add(tar, name, data)
        total = _count(manifest)
        for done, (_, entry) in enumerate(_sides(manifest), 1):
            _add(tar, f"{PICTURES}/{entry.key}", verify(entry))
            tell(done, total)


def _beside(manifest: Manifest, described: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files that are no pictures."""
    yield JSON_NAME, b"".join(_line(side, entry) for side, entry in _sides(manifest))
    for name in (CARD, FACTS, PREVIEW):
        with suppress(FileNotFoundError):
            yield name, (described / name).read_bytes()
    for name in credit_files(manifest.root):
        yield name, (manifest.root / name).read_bytes()


def _sides(manifest: Manifest) -> Iterator[tuple[str, Entry]]:
    yield from (("train", entry) for entry in manifest.train)
    yield from (("validation", entry) for entry in manifest.held_out)


def _line(side: str, entry: Entry) -> bytes:
    text = entry.captions[0] if len(entry.captions) == 1 else list(entry.captions)
    line: Mapping[str, Any] = {"file_name": f"{PICTURES}/{entry.key}", "text": text, **_further(entry), "split": side}
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"


def _further(entry: Entry) -> dict[str, str]:
    return {name: value for name, value in entry.metadata.items() if name not in {"file_name", "text", "split"}}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    about = tarfile.TarInfo(name)  # owner, time and mode are the same for everybody
    about.size = len(data)
    tar.addfile(about, io.BytesIO(data))


def _count(manifest: Manifest) -> int:
    return len(manifest.train) + len(manifest.held_out)


def _told(data: bytes | None) -> dict[str, Any] | None:
    """Return what is said of an archive that is there; None where nothing is, or nothing that can be believed."""
    try:
        told = json.loads(data or b"")
        return {"sha256": str(told["sha256"]), "bytes": int(told["bytes"]), "pictures": int(told["pictures"])}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
