"""From a data set's source to a local folder: what is local stays in place, all else comes below the work folder."""

import difflib
import hashlib
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from diptych_api.errors import DatasetInvalid, SpecInvalid, UnsupportedHere
from diptych_api.sources import DatasetSource
from diptych_diffusion.archive import SUFFIXES, kind_of
from diptych_diffusion.archives import compare, fetched, unpacked
from diptych_diffusion.download import file_system, public
from diptych_diffusion.staging import full_disk_named
from diptych_training.data.hub_source import Taken, hub_folder
from diptych_training.data.remote_folder import mirror
from diptych_training.run_store_location import check_credentials

LISTED = 10
FIELD = "spec.dataset.source"


def open_source(source: DatasetSource, workdir: Path, taken: Taken | None = None) -> Path:
    """Return the local folder with the source's files; archives are checked, unpacked once and found again.

    A folder that stands alone at the top of an archive is itself the root. Of the hub's tables come as many as
    ``taken`` needs. Raises DatasetInvalid, SpecInvalid,
    UnsupportedHere, HubAuth, StoreUnwritable and RetryLater.
    """
    if source.hugging_face is not None:
        return hub_folder(source.hugging_face, workdir, taken)
    uri = _supported_uri(source)
    with full_disk_named(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        path = local_path(uri)
        if path is not None:
            return _local(path, source.sha256, workdir)
        file_system(uri)
        kind = kind_of(urlsplit(uri).path)
        if kind is not None:
            return fetched(uri, kind, source.sha256, workdir)
        if uri.startswith("https://"):
            raise _unknown_kind(public(uri))
        _refuse_checksum(source.sha256)
        return mirror(uri, workdir)


def local_path(uri: str) -> Path | None:
    """Return the absolute path that a plain path or a file:// URI names; None for URIs of other schemes."""
    if uri.startswith("file://"):
        parts = urlsplit(uri)
        if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
            raise SpecInvalid(f"{FIELD}.uri: {uri} names no local path.", hint="Write file:///absolute/path.")
        return Path(unquote(parts.path))
    return None if "://" in uri else Path(uri).expanduser().absolute()


def _supported_uri(source: DatasetSource) -> str:
    if source.pvc is not None:
        raise UnsupportedHere(f"{FIELD}.pvc: this place cannot use it.", hint="Mount it and give its path as uri.")
    check_credentials(source.credentials, FIELD)
    if source.uri is None:
        raise SpecInvalid(f"{FIELD}: uri is missing.", hint="Give a folder or an archive.")
    return source.uri


def _local(path: Path, sha256: str | None, workdir: Path) -> Path:
    if not path.exists():
        raise _missing(path)
    if not os.access(path, os.R_OK | os.X_OK if path.is_dir() else os.R_OK):
        raise DatasetInvalid(f"{path} may not be read.", hint="Change its rights.")
    if path.is_dir():
        _refuse_checksum(sha256)
        return path.resolve()
    kind = kind_of(path.name)
    if kind is None or not path.is_file():
        raise _unknown_kind(str(path))
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        compare(str(path), found, sha256)
        return unpacked(file, kind, workdir / found)


def _refuse_checksum(sha256: str | None) -> None:
    if sha256 is not None:
        raise SpecInvalid(f"{FIELD}.sha256: a folder has no checksum.", hint="Leave it out, or name an archive.")


def _unknown_kind(name: str) -> DatasetInvalid:
    return DatasetInvalid(
        f"{name} is no archive that can be read.", hint=f"Name a folder, or a file that ends in {', '.join(SUFFIXES)}."
    )


def _missing(path: Path) -> DatasetInvalid:
    parent = next(folder for folder in path.parents if folder.is_dir())
    wanted = path.relative_to(parent).parts[0]
    there = sorted(entry.name for entry in parent.iterdir())
    listed = ", ".join(there[:LISTED]) + (f" and {len(there) - LISTED} more" if len(there) > LISTED else "")
    near = difflib.get_close_matches(wanted, there, n=1)
    return DatasetInvalid(
        f"There is no {path}. {parent} holds {listed or 'nothing'}.",
        hint=f"Did you mean {parent / near[0]}?" if near else f"Check {FIELD}.uri.",
    )
