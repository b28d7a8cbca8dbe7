"""Object stores, s3:// and gs://, as file systems whose errors are those of files."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import fsspec
import obstore
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem
from obstore.exceptions import BaseError
from obstore.store import ObjectStore as Bucket
from obstore.store import from_url

from diptych_diffusion.object_store_errors import meaning

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta

SCHEMES: Final = ("s3", "gs")
ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
EMULATOR: Final = "STORAGE_EMULATOR_HOST"
"""URL of a server that takes the place of Google's, without credentials, as Google's own clients read it."""
CONNECT_S: Final = 5
REQUEST_S: Final = 60
RETRY: Final = {
    "max_retries": 8,
    "retry_timeout": timedelta(minutes=3),
    "backoff": {"init_backoff": timedelta(seconds=0.5), "max_backoff": timedelta(seconds=10), "base": 3},
}
"""Patience with a store that refuses connections or answers 5xx; more with one that is slow. Waits are random."""
BLOCK: Final = 16 * 2**20
"""Bytes of one request of a download."""
THREADS: Final = 16

Version = Mapping[str, str]
"""What tells one write of an object from all others."""


def file_system(uri: str, **options: Any) -> tuple[AbstractFileSystem, str]:  # noqa: ANN401 -- fsspec's, by scheme
    """Return the file system of a URI and the path in it; ``options`` are for those of fsspec."""
    scheme, separator, rest = uri.partition("://")
    if separator and scheme in SCHEMES:
        return ObjectStore(scheme), rest.strip("/")
    if separator and scheme == "hf":
        options |= {"endpoint": os.environ.get("HF_ENDPOINT")}  # what else asks the hub reads it at the same moment
    return cast("tuple[AbstractFileSystem, str]", fsspec.core.url_to_fs(uri, **options))


class ObjectStore(AbstractFileSystem):  # type: ignore[misc] # fsspec ships no types
    """All buckets of one scheme; paths begin with the bucket.

    Credentials, region and endpoint come from the environment, as the stores' own tools read them. Errors are OSErrors
    that say what the store said: FileNotFoundError for a missing bucket too, PermissionError, FileExistsError for a
    condition that does not hold, ENOSPC, ConnectionError where the store cannot be reached or is too busy. A write is
    whole or not there.
    """

    cachable = False
    root_marker = ""

    def __init__(self, scheme: str, retry: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.protocol = scheme
        self._retry = retry
        self._buckets: dict[str, Bucket] = {}

    def info(self, path: str, **_: object) -> dict[str, Any]:
        """Return name, size and type of an object or folder."""
        bucket, name, key = self._at(path)
        with _named(name):
            if key:
                with suppress(FileNotFoundError):
                    return _entry(name, bucket.head(key))
            if next(iter(obstore.list(bucket, f"{key}/" if key else None, chunk_size=1)), None):
                return {"name": path.strip("/"), "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def exists(self, path: str, **_: object) -> bool:
        """Return whether an object or folder is there."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def ls(self, path: str, detail: bool = True, **_: object) -> list[Any]:  # noqa: FBT001, FBT002 -- fsspec's
        """Return the objects and folders in a folder."""
        bucket, name, key = self._at(path)
        with _named(name):
            found = bucket.list_with_delimiter(f"{key}/" if key else None)
        folders = [{"name": f"{name}/{prefix}", "size": 0, "type": "directory"} for prefix in found["common_prefixes"]]
        entries = [*folders, *(_entry(name, meta) for meta in found["objects"])]
        if not entries:
            raise FileNotFoundError(path)
        return entries if detail else [entry["name"] for entry in entries]

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,  # noqa: ARG002, FBT001, FBT002 -- fsspec's
        detail: bool = False,  # noqa: FBT001, FBT002 -- fsspec's
        **_: object,
    ) -> Any:  # noqa: ANN401 -- fsspec's
        """Return all objects below a folder by name, or the one that the path names."""
        bucket, name, key = self._at(path)
        with _named(name):
            metas = [meta for chunk in obstore.list(bucket, f"{key}/" if key else None) for meta in chunk]
            if not metas and key:
                with suppress(FileNotFoundError):
                    metas.append(bucket.head(key))
        deep = key.count("/") + (maxdepth or sys.maxsize)
        entries = {entry["name"]: entry for entry in (_entry(name, m) for m in metas if m["path"].count("/") <= deep)}
        return entries if detail else sorted(entries)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: object) -> bytes:
        """Return the bytes of an object, or those from ``start`` to before ``end``."""
        bucket, name, key = self._at(path)
        with _named(name):
            if start is None or end is None:
                return bucket.get(key).bytes().to_bytes()[start:end]
            return bucket.get_range(key, start=start, end=end).to_bytes()

    def get_file(self, rpath: str, lpath: str, **_: object) -> None:
        """Copy an object to a file, block by block. Raises FileExistsError where it changes meanwhile."""
        bucket, name, key = self._at(rpath)
        with Path(lpath).open("wb") as file, _named(name):
            meta = bucket.head(key)
            for start in range(0, meta["size"], BLOCK):
                options: GetOptions = {"range": (start, min(start + BLOCK, meta["size"]))}
                if meta["e_tag"]:
                    options["if_match"] = meta["e_tag"]
                file.write(bucket.get(key, options=options).bytes())

    def get(self, rpath: Sequence[str], lpath: Sequence[str], **_: object) -> None:
        """Copy many objects to files whose folders exist."""
        with ThreadPoolExecutor(THREADS) as threads:
            for _done in threads.map(self.get_file, rpath, lpath):
                pass

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: object) -> None:
        """Write an object; with mode ``create``, only where there is none. Raises FileExistsError."""
        self._put(path, value, mode)

    def put_file(self, lpath: str, rpath: str, **_: object) -> None:
        """Copy a file to an object."""
        self._put(rpath, Path(lpath))

    def swap(self, path: str, value: bytes, version: Version | None) -> Version:
        """Replace the given version of an object, None for no object; return the new version.

        Raises FileExistsError where there is another.
        """
        return self._put(path, value, "create" if version is None else version)

    def versioned(self, path: str) -> tuple[bytes, Version]:
        """Return the bytes of an object and which version they are."""
        bucket, name, key = self._at(path)
        with _named(name):
            found = bucket.get(key)
            return found.bytes().to_bytes(), _version(found.meta)

    def rm_file(self, path: str) -> None:
        """Remove an object."""
        self._remove(path, [path])

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:  # noqa: ARG002, FBT001, FBT002 -- fsspec's
        """Remove an object, or all that is below a folder."""
        self._remove(path, self.find(path) if recursive else [path])

    def _put(self, path: str, value: bytes | Path, mode: Any = "overwrite") -> Version:  # noqa: ANN401 -- obstore's PutMode
        bucket, name, key = self._at(path)
        with _named(name):
            return _version(bucket.put(key, value, mode=mode))

    def _remove(self, path: str, paths: Iterable[str]) -> None:
        bucket, name, _ = self._at(path)
        if keys := [self._at(one)[2] for one in paths]:
            with _named(name):
                bucket.delete(keys if len(keys) > 1 else keys[0])

    def _open(self, path: str, mode: str = "rb", **_: object) -> AbstractBufferedFile:
        if mode != "rb":
            raise ValueError("objects are written in one piece")
        return _ObjectReader(self, path, mode)

    def _at(self, path: str) -> tuple[Bucket, str, str]:
        """Return a path's bucket, the bucket's name, and the key."""
        name, _, key = path.strip("/").partition("/")
        if name not in self._buckets:
            self._buckets[name] = self._bucket(name)
        return self._buckets[name], name, key

    def _bucket(self, name: str) -> Bucket:
        urls = [os.environ.get(name, "") for name in ENDPOINTS] if self.protocol == "s3" else [_emulator()]
        allow_http = any(url.startswith("http://") for url in urls)
        client = {
            "allow_http": allow_http,
            "connect_timeout": timedelta(seconds=CONNECT_S),
            "timeout": timedelta(seconds=REQUEST_S),
        }
        url, how = f"{self.protocol}://{name}", {"client_options": client, "retry_config": self._retry or RETRY}
        return from_url(url, **how, **_emulated(self.protocol))  # type: ignore[call-overload, no-any-return]


class _ObjectReader(AbstractBufferedFile):  # type: ignore[misc] # fsspec ships no types
    """An object that is read from anywhere."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        data: bytes = self.fs.cat_file(self.path, start, end)
        return data


def _emulator() -> str:
    """Return the URL of what takes the place of Google's store; HOST:PORT is spoken to without TLS, as by others."""
    place = os.environ.get(EMULATOR, "")
    return place if "://" in place or not place else f"http://{place}"


def _emulated(scheme: str) -> dict[str, str]:
    """Return what leads gs:// to a server in the place of Google's; nothing where none is named."""
    if scheme != "gs" or not (url := _emulator()):
        return {}
    nobody = {"client_email": "", "private_key": "", "private_key_id": ""}
    return {"service_account_key": json.dumps({"gcs_base_url": url, "disable_oauth": True, **nobody})}


def _entry(bucket: str, meta: "ObjectMeta") -> dict[str, Any]:
    return {
        "name": f"{bucket}/{meta['path']}",
        "size": meta["size"],
        "type": "file",
        "ETag": meta["e_tag"],
        "mtime": meta["last_modified"],
    }


def _version(meta: Mapping[str, Any]) -> Version:
    return {name: meta[name] for name in ("e_tag", "version") if meta[name] is not None}


@contextmanager
def _named(bucket: str) -> Iterator[None]:
    """Raise what the store means as an OSError."""
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        raise meaning(error, bucket) from error
