"""Places where day and month budgets outlive a process: a file in a folder, or a key in Redis.

A write is all or nothing. Whatever a place raises means that it is away.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Final, Protocol, cast
from urllib.parse import quote, urlsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem
from redis.asyncio import Redis
from redis.asyncio.connection import parse_url

from diptych_api.errors import SpecInvalid
from diptych_api.limits import RateLimit
from diptych_serving.rate_rules import MONTH

REDIS: Final = ("redis", "rediss")
LARGEST: Final = 1 << 16
"""Bytes that are read at most; budgets are less than a kilobyte."""
REDIS_TIMEOUT_S: Final = 2.0
DAMAGED: Final = ".damaged"


class BudgetStore(Protocol):
    """A place for a few hundred bytes."""

    async def read(self) -> bytes | None:
        """Return what was written last, or None; of what is far too long, only the beginning."""

    async def write(self, data: bytes) -> None:
        """Put ``data`` in place of what was there."""

    async def set_aside(self) -> None:
        """Keep what is there under another name, for people to look at."""

    async def close(self) -> None:
        """Let go of connections."""


def open_store(limits: RateLimit, namespace: str, name: str, environment: Mapping[str, str]) -> BudgetStore | None:
    """Return the store of a deployment's budgets, or None where they are not kept.

    Raises:
        SpecInvalid: for a place that cannot be one, or a password that is not in the environment.

    """
    if limits.store is None:
        return None
    check_store(limits)
    if urlsplit(limits.store).scheme in REDIS:
        return RedisStore(limits.store, f"diptych:budgets:{namespace}/{name}", _password(limits, environment))
    return FolderStore(limits.store, f"{quote(namespace, safe='')}.{quote(name, safe='')}.json")


def check_store(limits: RateLimit) -> None:
    """Raise SpecInvalid for a place that cannot be a store anywhere."""
    location = limits.store or ""
    try:
        parts = urlsplit(location)
        if parts.scheme in REDIS:
            parse_url(location)
        elif parts.scheme:
            fsspec.get_filesystem_class(parts.scheme)
    except (ImportError, ValueError) as error:
        raise SpecInvalid(f"rateLimit.store: {error}", hint="Use a folder, s3://, gs:// or redis://.") from error
    if parts.password is not None:
        raise SpecInvalid("rateLimit.store: a password does not belong in the URL.", hint="Name it in storePassword.")


def _password(limits: RateLimit, environment: Mapping[str, str]) -> str | None:
    if limits.store_password is None:
        return None
    variable = limits.store_password.key
    if variable not in environment:
        raise SpecInvalid(f"rateLimit.storePassword: there is no environment variable {variable}.", hint="Set it.")
    return environment[variable]


class FolderStore:
    """A file in a folder that fsspec reaches."""

    def __init__(self, folder: str, file: str) -> None:
        self._folder = folder
        self._file = file
        self._one_at_a_time = Lock()
        """A write that hangs must not end after a later one."""

    async def read(self) -> bytes | None:
        """Return what was written last, or None; of what is far too long, only the beginning."""
        return await asyncio.to_thread(self._read)

    async def write(self, data: bytes) -> None:
        """Put ``data`` in place of what was there; an object store does so by itself."""
        await asyncio.to_thread(self._write, data)

    async def set_aside(self) -> None:
        """Keep what is there under another name."""
        await asyncio.to_thread(self._set_aside)

    async def close(self) -> None:
        """Nothing is held open."""

    def _place(self) -> tuple[fsspec.AbstractFileSystem, str]:
        files, folder = fsspec.url_to_fs(self._folder)
        return files, f"{folder.rstrip('/')}/{self._file}"

    def _read(self) -> bytes | None:
        files, path = self._place()
        try:
            with files.open(path, "rb") as file:
                return bytes(file.read(LARGEST + 1))
        except FileNotFoundError:
            return None

    def _write(self, data: bytes) -> None:
        with self._one_at_a_time:
            files, path = self._place()
            files.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH120 - also of a URL
            if isinstance(files, LocalFileSystem):
                _replace(Path(path), data)
            else:
                files.pipe_file(path, data)

    def _set_aside(self) -> None:
        files, path = self._place()
        files.mv(path, path + DAMAGED)


def _replace(path: Path, data: bytes) -> None:
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


class RedisStore:
    """A key in Redis, or in whatever speaks its protocol. It is forgotten when every window in it is over."""

    def __init__(self, url: str, key: str, password: str | None) -> None:
        wait_s = REDIS_TIMEOUT_S
        self._client = Redis.from_url(url, password=password, socket_timeout=wait_s, socket_connect_timeout=wait_s)
        self._key = key

    async def read(self) -> bytes | None:
        """Return what was written last, or None; of what is far too long, only the beginning."""
        found = cast("bytes", await self._client.getrange(self._key, 0, LARGEST))
        return found or None

    async def write(self, data: bytes) -> None:
        """Put ``data`` in place of what was there."""
        await self._client.set(self._key, data, ex=int(MONTH))

    async def set_aside(self) -> None:
        """Keep what is there under another name."""
        await self._client.rename(self._key, self._key + DAMAGED)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
