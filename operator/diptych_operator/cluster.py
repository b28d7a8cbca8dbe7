# ruff: noqa: N818 - the class name is the reason, as in diptych_api.errors
"""The seam to the API server: what the operator asks of it, and nothing else."""

from typing import Any, Protocol

from diptych_api.errors import DiptychError, RetryLater
from diptych_operator.kinds import Kind, Manifest, Ref
from diptych_operator.plan import Delete


class Conflict(RetryLater):
    """The object changed since it was read. Read again and plan anew."""


class Unreachable(RetryLater):
    """The API server did not answer, is overloaded or restarts."""


class Refused(DiptychError):
    """The API server will not do this: missing rights, an invalid object, a quota."""


class Cluster(Protocol):
    """An API server. Every method may raise Conflict, Unreachable and Refused."""

    async def get(self, ref: Ref) -> Manifest | None:
        """Return an object; None when it is not there."""

    async def list(
        self, kind: Kind, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[Manifest]:
        """Return all objects of a kind, in one namespace or in all that the operator watches."""

    async def apply(self, manifest: Manifest) -> Manifest:
        """Bring an object to a state by server-side apply; return it as stored. The fields of a manifest are ours."""

    async def delete(self, delete: Delete) -> None:
        """Delete one object with what it owns, by uid. One that is gone or of another uid counts as done."""

    async def write_status(self, ref: Ref, version: str, changes: dict[str, Any]) -> Manifest:
        """Merge changes into an object's status and return it as stored.

        Raises:
            Conflict: when its resourceVersion is not `version` any more.

        """

    async def tell(self, event: Manifest) -> None:
        """Make an Event. One of this name that is there already counts as done."""
