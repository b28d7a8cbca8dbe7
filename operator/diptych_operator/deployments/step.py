"""What is done about the RayService now: make it, change it, let it go, or wait."""

from dataclasses import dataclass
from typing import Final, Literal

from diptych_operator.child import Child, settle
from diptych_operator.deployments.keeping import keep, pods_mark
from diptych_operator.deployments.look import Look
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.rayservice import PODS_ANNOTATION
from diptych_operator.plan import Action
from diptych_operator.sealing import manifest_hash

Stage = Literal["Taken", "Suspending", "Suspended", "Replacing", "Making", "Following"]
AT_ONCE: Final = 0.0
LOOK_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Step:
    """The next step of a RayService."""

    stage: Stage
    desired: str
    """Hash of the RayService that is wanted."""
    actions: tuple[Action, ...] = ()
    requeue_s: float | None = None


def next_step(look: Look, wanted: Manifest) -> Step:
    """Return the next step.

    What a deletion would lose is in the status before: the deletion comes with the plan after that.
    """
    service = look.service
    applied = service.applied if service is not None else None
    kept = keep(wanted, applied)
    desired = manifest_hash(kept)
    if look.is_taken:
        return Step("Taken", desired, requeue_s=LOOK_S)
    if look.deployment.spec.suspend:
        return _suspend(look, desired)
    known = look.status.ray_service_name is not None and look.status.phase not in {"Suspended", "Updating"}
    if service is None:
        return Step("Making", desired, settle(None, wanted, known=known))
    if service.deleting:
        return Step("Replacing", desired)
    if _must_be_replaced(look, service, wanted):
        return _replace(look, service, desired)
    return Step("Following", desired, settle(service, kept))


def _suspend(look: Look, desired: str) -> Step:
    if look.service is None:
        return Step("Suspending" if look.seen.pods else "Suspended", desired)
    if look.service.deleting:
        return Step("Suspending", desired)
    if look.status.phase != "Suspending":
        return Step("Suspending", desired, requeue_s=AT_ONCE)
    return Step("Suspending", desired, (look.service.delete,))


def _must_be_replaced(look: Look, service: Child, wanted: Manifest) -> bool:
    """Whether new pods are wanted where there is no room for them beside the old ones."""
    known = service.annotations.get(PODS_ANNOTATION, "")
    in_place = look.deployment.spec.rollout.strategy == "InPlace"
    return in_place and known not in ("", pods_mark(wanted))


def _replace(look: Look, service: Child, desired: str) -> Step:
    recorded = look.status.phase == "Updating" and look.status.rollout.desired_hash == desired
    if not recorded:
        return Step("Replacing", desired, requeue_s=AT_ONCE)
    return Step("Replacing", desired, (service.delete,))
