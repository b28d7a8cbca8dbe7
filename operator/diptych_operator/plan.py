"""What is to be done for one resource: a value, made without I/O, which may be carried out again and again."""

from dataclasses import dataclass
from typing import Literal

from diptych_api.deploymentstatus import DiffusionDeploymentStatus
from diptych_api.diffusionmodel import DiffusionModelStatus
from diptych_api.jobstatus import FineTuneJobStatus
from diptych_operator.kinds import Manifest, Ref

AnyStatus = FineTuneJobStatus | DiffusionDeploymentStatus | DiffusionModelStatus


@dataclass(frozen=True, slots=True)
class Apply:
    """Bring an object to this state by server-side apply; make it when it is not there."""

    manifest: Manifest
    repairs: bool = False
    """Somebody changed or deleted what we had applied. Counted as drift."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object, but only the one with this uid: a newer one of the same name stays."""

    ref: Ref
    uid: str


@dataclass(frozen=True, slots=True)
class Note:
    """A Kubernetes Event about the resource. The same note about the same object is told once."""

    reason: str
    message: str
    type: Literal["Normal", "Warning"] = "Normal"
    key: str = ""
    """Tells notes of the same reason apart, such as the attempt."""


Action = Apply | Delete


@dataclass(frozen=True, slots=True)
class Plan:
    """Actions in their order, then notes, then one status write.

    A crash between any two leaves a state from which the next plan goes on. So what may get lost with a child is
    written into the status first, by a plan that has no actions.
    """

    status: AnyStatus
    actions: tuple[Action, ...] = ()
    notes: tuple[Note, ...] = ()
    requeue_s: float | None = None
    """Look again after so many seconds, whatever is heard until then; 0 for at once."""
