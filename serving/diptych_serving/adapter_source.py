"""Where an adapter's files are: a folder or file on this machine, or a copy of one in an object store."""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Final

import fsspec

from diptych_api.artifact import FOLDERS
from diptych_api.errors import AdapterInvalid, DiptychError, RetryLater, UnsupportedHere
from diptych_api.runstore import ARTIFACT_FILE

LARGEST_FILE: Final = 4 << 30
WANTED: Final = (".safetensors", ".json")
VERSION_KEYS: Final = ("size", "ETag", "etag", "blob_id", "created", "mtime", "last_modified", "LastModified")
"""What stores tell of a file's state, each in its own words."""


def fetch_adapter(uri: str, cache_dir: Path) -> Path:
    """Return a local folder or file that load_adapter reads; an artifact's folder means its PEFT form.

    Raises:
        AdapterInvalid: when nothing is there, or it is too large to be an adapter.
        UnsupportedHere: for a kind of place that no installed package knows.
        RetryLater: when the place did not answer.

    """
    if "://" in uri and not uri.startswith("file://"):
        return _copied(uri, cache_dir)
    path = Path(uri.removeprefix("file://")).expanduser()
    if not path.exists():
        raise AdapterInvalid(f"There is no {path} on this machine.", hint="Check the adapter's uri.")
    return path / FOLDERS["PEFT"] if (path / ARTIFACT_FILE).is_file() else path


def _copied(uri: str, cache_dir: Path) -> Path:
    try:
        return _copy(uri, cache_dir / "adapters")
    except DiptychError:
        raise
    except (ImportError, ValueError) as cause:
        raise UnsupportedHere(f"{uri} cannot be opened: {cause}", hint="Install the store's fsspec package.") from cause
    except (FileNotFoundError, PermissionError) as cause:
        raise AdapterInvalid(f"{uri} cannot be read: {cause}", hint="Check the name and the credentials.") from cause
    except Exception as cause:  # each store's package raises kinds of its own
        raise RetryLater(f"{uri} cannot be read: {cause}", hint="Check the network and the credentials.") from cause


def _copy(uri: str, cache_dir: Path) -> Path:
    """Copy the adapter's files, under a name that no other state of them has."""
    files, root = fsspec.url_to_fs(uri)
    if files.exists(f"{root}/{ARTIFACT_FILE}"):
        root = f"{root}/{FOLDERS['PEFT']}"
    found = {path: entry for path, entry in files.find(root, maxdepth=1, detail=True).items() if path.endswith(WANTED)}
    if not found:
        raise AdapterInvalid(f"{uri} holds no .safetensors file.", hint="Give an adapter's folder or file.")
    if sum(int(entry.get("size") or 0) for entry in found.values()) > LARGEST_FILE:
        raise AdapterInvalid(f"{uri} is larger than {LARGEST_FILE >> 30} GiB.", hint="That is no adapter.")
    state = sorted(f"{path} {[entry.get(key) for key in VERSION_KEYS]}" for path, entry in found.items())
    folder = cache_dir / hashlib.sha256("\n".join([uri, *state]).encode()).hexdigest()[:32]
    if not folder.exists():
        cache_dir.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=cache_dir))
        try:
            for path in found:
                files.get_file(path, str(unfinished / path.rsplit("/", 1)[-1]))
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            if not folder.is_dir():
                raise
    return folder
