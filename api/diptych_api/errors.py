# ruff: noqa: N818 - the class name is the reason that people read in conditions and reports
"""Every error that people may see.

DiptychError
├── UserError             permanent; something a person must change          exit 2
│   ├── SpecInvalid       a field of the YAML
│   ├── DatasetInvalid    pictures, captions, layout, archive
│   ├── BaseInvalid       the base model's files
│   ├── AdapterInvalid    an adapter's files
│   ├── HubAuth           the hub refused the token
│   └── UnsupportedHere   a field that this place or version cannot honour
├── RunFailed             the run ended; the last good state is kept         exit 1
│   ├── NaNLoss
│   ├── GpuOutOfMemory
│   ├── HostOutOfMemory
│   ├── StoreUnwritable
│   ├── CheckpointCorrupt
│   ├── CacheCorrupt
│   ├── ArtifactInvalid
│   ├── DeadlineExceeded
│   ├── GpuBudgetExceeded
│   └── WorkerLost
├── Interrupted           asked to stop; state saved, run again to go on     exit 130
└── RetryLater            may pass by itself                                 exit 75
    ├── QueueTimeout
    └── DeviceOutOfMemory
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar


class DiptychError(Exception):
    """An error with a reason for machines, a message for people and a hint at what to do."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def reason(self) -> str:
        """Return the CamelCase reason, as it stands in a condition."""
        return type(self).__name__

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the hint when the error crosses a process boundary."""
        return (_rebuild, (type(self), self.message, self.hint))

    def __str__(self) -> str:
        """Return message and hint on one line."""
        return f"{self.message} {self.hint}".strip()


def _rebuild(kind: type[DiptychError], message: str, hint: str) -> DiptychError:
    return kind(message, hint=hint)


class UserError(DiptychError):
    """Permanent until a person changes something."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a resource: file, line counted from 1 (0 when there is none), field and what is wrong with it."""

    file: str
    line: int
    field: str
    message: str

    @property
    def location(self) -> str:
        """Return file and line, as editors read it."""
        return f"{self.file}:{self.line}" if self.line else self.file

    @property
    def text(self) -> str:
        """Return field and message."""
        return f"{self.field}: {self.message}" if self.field else self.message

    def __str__(self) -> str:
        """Return location, field and message on one line."""
        return f"{self.location} {self.text}"


class SpecInvalid(UserError):
    """A field of the spec is wrong. Carries every problem that was found."""

    def __init__(self, message: str, *, hint: str = "", problems: Iterable[Problem] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the problems when the error crosses a process boundary."""
        return (_rebuild_spec_invalid, (self.message, self.hint, self.problems))


def _rebuild_spec_invalid(message: str, hint: str, problems: tuple[Problem, ...]) -> SpecInvalid:
    return SpecInvalid(message, hint=hint, problems=problems)


class DatasetInvalid(UserError):
    """Pictures, captions, layout or archive cannot be used."""


class BaseInvalid(UserError):
    """The base model's files cannot be used."""


class AdapterInvalid(UserError):
    """An adapter's files cannot be used."""


class HubAuth(UserError):
    """The model hub refused the request for lack of rights."""


class UnsupportedHere(UserError):
    """A field that this place or this version cannot honour."""


class RunFailed(DiptychError):
    """The run ended without success; the last good state is kept."""


class NaNLoss(RunFailed):
    """The loss, or its gradient, is not a finite number."""


class GpuOutOfMemory(RunFailed):
    """The GPU has too little memory for the settings."""


class HostOutOfMemory(RunFailed):
    """The machine has too little memory for the settings."""


class StoreUnwritable(RunFailed):
    """The run store refused a write: full disk, missing rights, lost network."""


class CheckpointCorrupt(RunFailed):
    """A checkpoint's files do not match their hashes."""


class CacheCorrupt(RunFailed):
    """A cache shard's contents do not match its hash."""


class ArtifactInvalid(RunFailed):
    """The artifact failed its integrity check."""


class DeadlineExceeded(RunFailed):
    """The run took longer than allowed."""


class GpuBudgetExceeded(RunFailed):
    """The run used more GPU seconds than allowed."""


class WorkerLost(RunFailed):
    """A worker died and could not be replaced."""


class Interrupted(DiptychError):
    """Somebody asked the run to stop; the state is saved."""

    exit_code = 130


class RetryLater(DiptychError):
    """The cause may pass by itself."""

    exit_code = 75


class QueueTimeout(RetryLater):
    """A request waited too long for its turn."""


class DeviceOutOfMemory(RetryLater):
    """A device had too little memory for a picture, even for one row at a time."""
