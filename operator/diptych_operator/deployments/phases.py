"""The state of a deployment in one word, and in conditions."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from diptych_api.deploymentstatus import AdapterStatus, DeploymentFailure, DeploymentPhase
from diptych_operator.conditions import Aspect, last_change
from diptych_operator.deployments.look import Look
from diptych_operator.deployments.serving_state import ServingState
from diptych_operator.deployments.step import Step
from diptych_operator.deployments.told_adapters import failed
from diptych_operator.plan import Note
from diptych_operator.pod_failures import PodFailure

MOVING: Final = frozenset({"Pending", "Provisioning", "Starting", "Updating", "Suspending"})
WARNINGS: Final = frozenset({"Degraded", "Failed"})
WORDS: Final[dict[DeploymentPhase, str]] = {
    "Pending": "The RayService waits for KubeRay. Is it running?",
    "Provisioning": "Pods are starting.",
    "Starting": "The pods are ready; Ray Serve starts the application.",
    "Ready": "Every application runs the wanted configuration.",
    "Updating": "A change comes in; what ran before answers as long as it can.",
    "Degraded": "An application does not answer.",
    "Suspending": "The pods go; spec.suspend is true.",
    "Suspended": "No pods are left; spec.suspend: false brings them back.",
    "Failed": "The deployment does not start.",
}
NO_REPLICAS: Final = "spec.replicas is 0, so every picture is refused."
TAKEN: Final = "There is a RayService {name} of another owner. Delete it, or name the deployment differently."
LEAVING: Final = "The RayService {name} of another owner is on its way out; ours is made when it is gone."


@dataclass(frozen=True, slots=True)
class Picture:
    """What the conditions are made of."""

    phase: DeploymentPhase
    failure: DeploymentFailure | None
    waiting: PodFailure | None
    """What keeps pods from running."""
    adapters: tuple[AdapterStatus, ...] = ()


def phase_of(look: Look, step: Step, *, taken_in: bool) -> DeploymentPhase:
    """Return the phase."""
    match step.stage:
        case "Suspending" | "Suspended" as stage:
            return stage
        case "Taken":
            return "Pending"
        case "Replacing":
            return "Updating"
        case "Making":
            return "Updating" if look.status.phase == "Updating" else "Pending"
        case "Following":
            return "Pending" if look.state is None else _followed(look.state, taken_in=taken_in)


def _followed(state: ServingState, *, taken_in: bool) -> DeploymentPhase:
    broken = any(application.is_broken for application in state.newest)
    if state.invalid or (broken and not state.active):
        return "Failed"
    if not (state.observed or state.active or state.pending):
        return "Pending"  # as before the RayService was there: a crash in between loses no Event
    if not state.active:
        return "Starting" if state.has_head else "Provisioning"
    if taken_in and state.serves:
        return "Ready"
    if broken or state.has_lost_clients or state.has_lost_head:
        return "Degraded"
    return "Updating" if state.endpoints else "Starting"


def aspects(look: Look, picture: Picture) -> Iterator[Aspect]:
    """Yield the conditions."""
    phase = picture.phase
    reason, message = _why(look, picture)
    yield Aspect("Ready", phase == "Ready", reason, message)
    yield Aspect("Progressing", phase in MOVING, phase, WORDS[phase] if phase in MOVING else "")
    yield _degraded(look, picture)
    yield _adapters(picture)
    yield Aspect("Suspended", phase == "Suspended", phase, WORDS[phase] if phase == "Suspended" else "")


def notes(look: Look, picture: Picture) -> tuple[Note, ...]:
    """Return the Event of a new phase; none while the phase stays."""
    before = look.status
    if before.phase == picture.phase and before.observed_generation is not None:
        return ()
    kind: Literal["Normal", "Warning"] = "Warning" if picture.phase in WARNINGS else "Normal"
    key = f"{look.deployment.metadata.generation} {last_change(before.conditions)}"
    return (Note(picture.phase, _why(look, picture)[1], kind, key),)


def _why(look: Look, picture: Picture) -> tuple[str, str]:
    """Return why it is ready or not: the reason and a sentence."""
    phase = picture.phase
    if look.is_taken and look.service is not None:
        return "NameTaken", (LEAVING if look.service.deleting else TAKEN).format(name=look.service.name)
    if phase in WARNINGS and picture.failure is not None:
        return picture.failure.reason, _sentences(picture.failure.message, picture.failure.hint)
    if phase == "Ready" and look.deployment.spec.replicas == 0:
        return phase, NO_REPLICAS
    if phase in MOVING and picture.waiting is not None:
        return picture.waiting.reason, _sentences(picture.waiting.message, picture.waiting.hint)
    return phase, WORDS[phase]


def _degraded(look: Look, picture: Picture) -> Aspect:
    failure, waiting, phase = picture.failure, picture.waiting, picture.phase
    if look.seen.refused:
        return Aspect("Degraded", True, "Refused", look.seen.refused)
    if phase in WARNINGS:
        reason = failure.reason if failure else phase
        return Aspect("Degraded", True, reason, _sentences(failure.message, failure.hint) if failure else WORDS[phase])
    if waiting is not None:
        return Aspect("Degraded", True, waiting.reason, _sentences(waiting.message, waiting.hint))
    if broken := failed(picture.adapters):
        return Aspect("Degraded", True, "AdapterFailed", _told(broken))
    return Aspect("Degraded", False, "AsExpected")


def _adapters(picture: Picture) -> Aspect:
    for state in ("Failed", "Waiting", "Loading"):
        if told := [one for one in picture.adapters if one.state == state]:
            reason = state if state == "Loading" else f"Adapter{state}"
            return Aspect("AdaptersLoaded", False, reason, _told([one for one in told if one.message]))
    ready = picture.phase == "Ready"
    reason = "Loaded" if ready else "Loading"
    return Aspect("AdaptersLoaded", ready, reason if picture.adapters else "NoAdapters")


def _told(adapters: list[AdapterStatus]) -> str:
    return " ".join(f"{one.name}: {one.message}" for one in adapters)


def _sentences(*parts: str) -> str:
    return " ".join(part.strip() for part in parts if part.strip())
