"""Whether the configuration that runs is the one that is wanted.

KubeRay reads the state of Ray Serve, then sends the new configuration, then writes what it had read: so the first
status of a new generation may tell of the old configuration. It looks again every two seconds and writes what is new.
So a status counts once KubeRay had time to look again. Of a new deployment it counts at once: where no head was ready
yet, no configuration can have been sent before this one. (A head that was ready, and is not while the spec changes, is
no hole: the first status of a cluster that takes over tells of no endpoints yet.)
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from diptych_operator.deployments.look import Look
from diptych_operator.deployments.step import Step
from diptych_operator.plan import Action, Apply

SETTLE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Settling:
    """Whether Ray Serve has the wanted configuration, and after how many seconds that will be known."""

    taken_in: bool
    wait_s: float | None = None


def settling(look: Look, step: Step) -> Settling:
    """Return whether the wanted configuration runs, as far as that can be told now."""
    state, service = look.state, look.service
    if step.stage != "Following" or state is None or service is None or service.hash != step.desired:
        return Settling(taken_in=False)
    if state.observed < state.generation or any(not _repairs(action) for action in step.actions):
        return Settling(taken_in=False)
    is_known = look.status.rollout.config_hash == step.desired
    if not state.active:
        return Settling(taken_in=is_known or not state.has_head)
    tells = bool(state.applications) and not state.pending
    if is_known or not tells:
        return Settling(taken_in=is_known and tells)
    waited_s = (look.now - _since(look)).total_seconds()
    return Settling(taken_in=True) if waited_s >= SETTLE_S else Settling(taken_in=False, wait_s=SETTLE_S - waited_s)


def _repairs(action: Action) -> bool:
    """Whether an action brings back what others changed: what it makes of the spec shows in the next generation."""
    return isinstance(action, Apply) and action.repairs


def _since(look: Look) -> datetime:
    """Return since when KubeRay has nothing new to tell; its clock is believed as far as it is not ahead."""
    updated = look.state.updated if look.state else None
    if updated is not None and updated <= look.now:
        return updated
    ready = next((condition for condition in look.status.conditions if condition.type == "Ready"), None)
    return min(ready.last_transition_time, look.now) if ready is not None and ready.status == "False" else look.now
