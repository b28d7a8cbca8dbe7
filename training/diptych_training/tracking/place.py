"""What a place that keeps runs must be able to do, and which one a URI names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from diptych_api.after import Tracking
from diptych_training.tracking.facts import Figure


class TrackingAwayError(Exception):
    """The place cannot be reached, or refuses; the text says what it answered. What it missed is sent later."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A run as the place knows it."""

    run: str
    artifacts: str
    """URI below which its files are."""


class Place(Protocol):
    """Keeps runs. Every call may be repeated: what is there already is not written twice."""

    def begin(self, experiment: str, name: str, tags: Mapping[str, str], began_ms: int) -> Begun:
        """Return the run with these tags' RUN_TAG, made where there is none, and say that it goes on."""

    def tell(self, run: str, params: Mapping[str, str], figures: Sequence[Figure], at_ms: int) -> None:
        """Add parameters, which never change, and figures, which were measured at a time."""

    def put(self, begun: Begun, path: str, data: BinaryIO, size: int) -> None:
        """Add a file to the run."""

    def register(self, begun: Begun, model: str, alias: str, tags: Mapping[str, str]) -> str | None:
        """Make the run's artifact a version of a model, named by an alias; return it, or None without registry."""

    def end(self, run: str, status: str, ended_ms: int) -> None:
        """Say how the run ended."""

    def close(self) -> None:
        """Let go of connections; nothing is told afterwards."""


def place_of(tracking: Tracking, environ: Mapping[str, str]) -> Place:
    """Return the place that a job names; local paths are absolute."""
    if is_server(tracking.uri):
        from diptych_training.tracking.server import Server, credentials  # noqa: PLC0415 -- only where there is one

        return Server.at(tracking.uri, credentials(tracking.token, environ))
    from diptych_training.tracking.folder import Folder  # noqa: PLC0415 -- the same

    return Folder(Path(local_path(tracking.uri)))


def is_server(uri: str) -> bool:
    """Whether a URI names an MLflow server."""
    return uri.startswith(("http://", "https://"))


def local_path(uri: str) -> str:
    """Return the path of a folder that is written as a path, file: or file://."""
    return uri.removeprefix("file:").removeprefix("//") if uri.startswith("file:") else uri
