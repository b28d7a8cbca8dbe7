"""One process per run in an object store: a lease that its holder keeps renewing.

The lease is an object that is replaced by conditional writes only: of two processes that want it one gets it, and a
holder that slept too long finds out. Who meets the lease of another waits: until it is renewed, and gives up, or until
it should have been, and takes it over. Each measures time by its own clock, so clocks may differ.
"""

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from diptych_api.errors import RetryLater
from diptych_api.fields import Count, Record, Text
from diptych_diffusion.object_store import ObjectStore, Version
from diptych_training.run_store_lock import WITHOUT_LOCKS

LEASE_FILE: Final = ".lease"
RENEW_S: Final = 10.0
LEASE_S: Final = 30.0
POLL_S: Final = 1.0
NO_CONDITIONS: Final = (
    "This object store does not know conditional writes, so nothing keeps a second process from the same run."
)


class Lease(Record):
    """What the object says."""

    holder: Text = Field(default="", description="Who has the run; empty when nobody does.")
    host: Text = Field(default="", description="Machine and process namespace of the holder.")
    process: Count = Field(default=0, description="Process id of the holder.")
    told: Text = Field(default="", description="The holder as people read it.")
    renewals: Count = Field(default=0, description="Makes every renewal another object.")

    @property
    def is_here(self) -> bool:
        """Whether the holder is a process that this one can see."""
        return bool(self.host) and self.host == this_host()


@dataclass
class Hold:
    """A lock that is held."""

    notice: str = ""
    """What people should know of it."""
    lost: str = ""
    """Who took it over; empty while it is held."""
    on_lost: Callable[[], None] = field(default=lambda: None)


@contextmanager
def leased(fs: ObjectStore, path: str) -> Iterator[Hold]:
    """Hold the lease at ``path`` while the body runs.

    Raises:
        RetryLater: when another process renews it; the message names that process.
        OSError: as the store does.

    """
    mine = Lease(holder=uuid.uuid4().hex, host=this_host(), process=os.getpid(), told=_told())
    hold, done = Hold(), threading.Event()
    try:
        version = _acquire(fs, path, mine)
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        yield Hold(notice=NO_CONDITIONS)
        return
    if not _knows_conditions(fs, path, mine):
        hold.notice = NO_CONDITIONS
        version = fs.versioned(path)[1]
    keeper = _Keeper(fs, path, mine, version, hold, done)
    thread = threading.Thread(target=keeper.run, name="lease", daemon=True)
    thread.start()
    try:
        yield hold
    finally:
        done.set()
        thread.join()
        keeper.release()


def holder_of(fs: ObjectStore, path: str) -> Lease | None:
    """Return who holds the lease; None when nobody renewed it for twice its time, or its process here has ended."""
    lease = _read(fs, path)[0]
    if not lease.holder or _is_dead(lease):
        return None
    age_s = (datetime.now(UTC) - fs.info(path)["mtime"]).total_seconds()
    return lease if age_s < 2 * LEASE_S else None


def this_host() -> str:
    """Return what is the same for processes that see each other's ids; empty where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


@dataclass
class _Keeper:
    """Renews a lease on a thread of its own."""

    fs: ObjectStore
    path: str
    mine: Lease
    version: Version
    hold: Hold
    done: threading.Event

    def run(self) -> None:
        """Renew until done, or until another has it. A store that does not answer is asked again."""
        while not self.done.wait(RENEW_S):
            self.mine = self.mine.model_copy(update={"renewals": self.mine.renewals + 1})
            try:
                self.version = self.fs.swap(self.path, _bytes(self.mine), self.version)
            except FileExistsError:
                if not self._is_still_mine():
                    self.hold.on_lost()
                    return
            except OSError:
                continue

    def release(self) -> None:
        """Say that nobody has the lease, if it was still ours. What cannot be said now, others find out by waiting."""
        if not self.hold.lost:
            with suppress(OSError):
                self.fs.swap(self.path, _bytes(Lease(told=self.mine.told)), self.version)

    def _is_still_mine(self) -> bool:
        """Look again: the answer to a renewal may have been lost on the way, and the renewal was made."""
        with suppress(OSError):
            lease, version = _read(self.fs, self.path)
            if lease.holder != self.mine.holder or version is None:
                self.hold.lost = lease.told or "another process"
                return False
            self.version = version
        return True


def _acquire(fs: ObjectStore, path: str, mine: Lease) -> Version:
    while True:
        found, version = _read(fs, path)
        if found.holder == mine.holder and version is not None:  # whose answer was lost
            return version
        if found.holder and not _is_dead(found):
            _wait_for_its_end(fs, path, version)
        try:
            return fs.swap(path, _bytes(mine), version)
        except FileExistsError:
            continue  # another was faster


def _wait_for_its_end(fs: ObjectStore, path: str, version: Version | None) -> None:
    """Wait until a lease has run out. Raises RetryLater when it is renewed."""
    deadline = time.monotonic() + LEASE_S
    while time.monotonic() < deadline:
        time.sleep(POLL_S)
        lease, now = _read(fs, path)
        if now != version:
            if not lease.holder:
                return
            raise RetryLater(
                f"{lease.told} works on {fs.unstrip_protocol(path.rpartition('/')[0])}.",
                hint="Wait until it ends, or stop it.",
            )


def _knows_conditions(fs: ObjectStore, path: str, mine: Lease) -> bool:
    """Return whether the store refuses to create what is there."""
    try:
        fs.swap(path, _bytes(mine), None)
    except FileExistsError:
        return True
    return False


def _read(fs: ObjectStore, path: str) -> tuple[Lease, Version | None]:
    """Return the lease and its version; a damaged one belongs to nobody."""
    try:
        data, version = fs.versioned(path)
    except FileNotFoundError:
        return Lease(), None
    try:
        return Lease.model_validate_json(data), version
    except ValidationError:
        return Lease(), version


def _is_dead(lease: Lease) -> bool:
    """Return whether the holder was a process of this machine that is no more."""
    return lease.is_here and not Path(f"/proc/{lease.process}").exists()


def _told() -> str:
    return f"Process {os.getpid()} on {socket.gethostname()}"[:253]


def _bytes(lease: Lease) -> bytes:
    return lease.model_dump_json(by_alias=True, exclude_defaults=True).encode()
