"""Bytes from where they are: one code path for https, s3, gs and hf, through fsspec."""

import hashlib
import ssl
from collections.abc import Iterator
from typing import IO
from urllib.parse import urlsplit

import fsspec
from obstore.exceptions import BaseError

from diptych_api.errors import DatasetInvalid, RetryLater, SpecInvalid
from diptych_diffusion import object_store
from diptych_diffusion.store_copy import answered

REMOTE = ("https", "s3", "gs", "hf", "memory")
"""Allowed schemes; ``memory`` is this process's own and serves tests."""
CHUNK_BYTES = 4 * 2**20
ATTEMPTS = 5
"""Failures in a row, none of which brought a byte, after which a download is given up."""
TIMEOUT, TOO_MANY_REQUESTS, CLIENT_ERRORS = 408, 429, range(400, 500)


class _CutError(Exception):
    """A transfer stopped early; the cause says why."""


class _NoRangesError(Exception):
    """The server sends files from their beginning only."""


def file_system(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the file system of a remote URI and the path in it. Raises for schemes that are not allowed."""
    scheme = urlsplit(uri).scheme
    if scheme not in REMOTE or "::" in uri:  # fsspec would take the part after :: for another place
        raise SpecInvalid(
            f"A data set cannot be read from {public(uri)}.",
            hint="Use a local path, file://, https:// with sha256, s3://, gs:// or hf://.",
        )
    options: dict[str, object] = {}
    if scheme == "https":
        import aiohttp  # noqa: PLC0415 (half a second that only downloads need)

        stall = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
        headers = {"Accept-Encoding": "identity"}  # or ranges would count compressed bytes
        options["client_kwargs"] = {"timeout": stall, "headers": headers, "trust_env": True}
    return object_store.file_system(uri, **options)


def download(uri: str, target: IO[bytes], max_bytes: int) -> str:
    """Write the file at ``uri`` to ``target`` and return its SHA-256; cut transfers go on where they stopped.

    Raises DatasetInvalid where it is missing, refused or too large, and RetryLater where the network fails.
    """
    fs, path = file_system(uri)
    sink, failures, ranges = _Sink(target, max_bytes), 0, True
    while True:
        start = sink.size
        try:
            for chunk in _chunks(fs, path, start, ranges=ranges):
                sink.write(uri, chunk)
        except _CutError as cut:
            failures = 0 if ranges and sink.size > start else failures + 1
            reason = explanation(uri, cut.__cause__)
            if failures >= ATTEMPTS or not isinstance(reason, RetryLater):
                raise reason from cut.__cause__
        except _NoRangesError:
            ranges = False
        else:
            return sink.digest.hexdigest()
        if not ranges:
            sink.clear()


class _Sink:
    """Keeps what came, its checksum and its bound."""

    def __init__(self, file: IO[bytes], max_bytes: int) -> None:
        self.file, self.max_bytes = file, max_bytes
        self.clear()

    def clear(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, uri: str, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size > self.max_bytes:
            raise DatasetInvalid(f"{public(uri)} is larger than {self.max_bytes} bytes.", hint="Split it up.")
        self.file.write(chunk)
        self.digest.update(chunk)


def public(uri: str) -> str:
    """Return the URI without user, password and query, which may be secrets."""
    parts = urlsplit(uri)
    if not parts.scheme:
        return uri
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def explanation(uri: str, error: BaseException | None) -> DatasetInvalid | RetryLater:
    """Return what a file system's error means: something to change, or something that may pass."""
    cause, status = error, None
    if isinstance(error, OSError) and isinstance(error.__cause__, BaseError | FileNotFoundError):
        what = error.strerror or str(error)  # of our own object stores; others may put secrets into their words
    else:
        cause = error.__cause__ if error is not None and error.__cause__ is not None else error
        status = getattr(cause, "status", None) or answered(cause)
        what = f"HTTP status {status}" if status is not None else type(cause).__name__
    is_refused = status in CLIENT_ERRORS and status not in {TIMEOUT, TOO_MANY_REQUESTS}
    if is_refused or isinstance(cause, FileNotFoundError | PermissionError | ssl.SSLError):
        return DatasetInvalid(
            f"Cannot read {public(uri)}: {what}.", hint="Check spec.dataset.source.uri and your rights to it."
        )
    return RetryLater(f"The transfer from {public(uri)} fails: {what}.", hint="Run again when the network is better.")


def _chunks(fs: fsspec.AbstractFileSystem, path: str, start: int, *, ranges: bool) -> Iterator[bytes]:
    at = start
    try:
        with fs.open(path, "rb") if ranges else fs.open(path, "rb", block_size=0) as file:
            if start:
                file.seek(start)
            while chunk := file.read(CHUNK_BYTES):
                at += len(chunk)
                yield chunk
            size = getattr(file, "size", None)
    except ValueError as error:  # what fsspec raises for a seek or a range that the server will not do
        raise (_NoRangesError if ranges and not isinstance(error, ssl.SSLError) else _CutError) from error
    except Exception as error:  # each file system brings its own network errors
        raise _CutError from error
    if size is not None and at < size:
        raise _CutError from EOFError(f"{at} of {size} bytes came")
