"""Publishing a run: where to, whether it may be, and what came of it."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

import fsspec

from diptych_api.after import Publish
from diptych_api.errors import UnsupportedHere, UserError
from diptych_api.evaluation_report import GateDecision
from diptych_api.sources import SecretKey
from diptych_diffusion.object_store import SCHEMES, file_system
from diptych_training.publishing.parcel import Parcel, packed
from diptych_training.publishing.plan import Plan
from diptych_training.run_store import RunStore

OCI = "oci://"


class Destination(Protocol):
    """Where a parcel may go."""

    def plan(self, parcel: Parcel) -> Plan:
        """Return what is missing there."""

    def send(self, plan: Plan, parcel: Parcel) -> str:
        """Send it, and return under which name it is there now."""


@dataclass(frozen=True, slots=True)
class Published:
    """What came of one destination."""

    plan: Plan
    name: str | None = None
    """Under which name it is there; None where nothing was sent."""

    @property
    def at(self) -> str | None:
        """Under which name it is there, whoever sent it; None after a dry run."""
        return self.name or (self.plan.place if self.plan.is_done else None)

    def __str__(self) -> str:
        """Say it in a sentence."""
        plan = self.plan
        if plan.is_done:
            return f"{plan.place} has everything already."
        told = f"{len(plan.send)} files, {plan.size / 1e6:.1f} MB"
        told += f", {len(plan.remove)} removed" if plan.remove else ""
        return f"Published {told} to {self.name}." if self.name else f"Would send {told} to {plan.place}."


def publish(
    store: RunStore, settings: Publish, environ: Mapping[str, str], *, dry_run: bool = False
) -> Iterator[Published]:
    """Bring every place that a job names up to date, and yield what came of each. What is there is not sent again.

    Raises:
        UserError: when the run has no artifact, or the job names no place.
        HubAuth, RetryLater, StoreUnwritable: as the place answers.

    """
    with ExitStack() as open_ones:
        places = list(_destinations(settings, environ, open_ones))
        parcel = open_ones.enter_context(packed(store, environ))
        for place in places:
            plan = place.plan(parcel)
            yield Published(plan, None if dry_run or plan.is_done else place.send(plan, parcel))


def _destinations(settings: Publish, environ: Mapping[str, str], open_ones: ExitStack) -> Iterator[Destination]:
    """Yield the places that a job names; local paths are absolute. What they keep open is closed with ``open_ones``.

    Raises:
        UnsupportedHere: for a place that cannot be written to, or a token that the environment lacks.

    """
    token = secret(settings.token, environ)
    if settings.hugging_face_repo is not None:
        from diptych_training.publishing.hub import HubRepository  # noqa: PLC0415 -- a second, for those who need it

        yield HubRepository(settings.hugging_face_repo, token, settings.private)
    if settings.uri is not None and settings.uri.startswith(OCI):
        from diptych_training.publishing.oci import Registry  # noqa: PLC0415 -- the same

        registry = Registry.at(settings.uri, token, environ)
        open_ones.enter_context(registry.client)
        yield registry
    elif settings.uri is not None:
        from diptych_training.publishing.folder import PublishedFolder  # noqa: PLC0415 -- the same

        yield PublishedFolder(settings.uri, *_folder(settings.uri))
    if settings.hugging_face_repo is None and settings.uri is None:
        raise UserError("spec.publish names no place.", hint="Set huggingFaceRepo, or uri.")


def secret(token: SecretKey | None, environ: Mapping[str, str]) -> str | None:
    """Return the token that a job names. Raises UnsupportedHere where the environment does not have it."""
    if token is None:
        return None
    if not environ.get(token.key):
        raise UnsupportedHere(
            f"spec.publish.token: the environment variable {token.key} is not set.",
            hint=f"export {token.key}=… On Kubernetes, the Secret {token.name} fills it.",
        )
    return environ[token.key]


def withheld(gate: GateDecision | None) -> str:
    """Return why a run is not published by itself; empty where it may be."""
    if gate is None or gate.outcome == "Promoted":
        return ""
    if gate.outcome == "Offered":
        return f"Not published: the DiffusionModel {gate.model} has not decided yet. Afterwards: diptych publish."
    return f"Not published, because it was not promoted: {gate.reason}"


def _folder(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    scheme, separator, rest = uri.partition("://")
    if separator and scheme not in (*SCHEMES, "file"):
        raise UnsupportedHere(
            f"spec.publish.uri: cannot publish to {uri}.", hint="Use a folder, s3://, gs:// or oci://."
        )
    if scheme in SCHEMES:
        return file_system(uri)
    return fsspec.filesystem("file"), rest if separator else uri
