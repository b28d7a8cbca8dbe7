"""What is to be done for a FineTuneJob.

An attempt is the life of one RayJob. What ends it, whatever that is, is written into the status first; then the RayJob
is deleted, its pods go, and the next attempt goes on from the same run store.
"""

from datetime import datetime
from typing import Final

from diptych_operator.child import Child
from diptych_operator.defaults import Defaults
from diptych_operator.jobs.aspects import gone
from diptych_operator.jobs.between import plan_between
from diptych_operator.jobs.live import plan_live
from diptych_operator.jobs.over import plan_over
from diptych_operator.jobs.ray_state import RayState
from diptych_operator.jobs.status import planned
from diptych_operator.jobs.turn import Turn
from diptych_operator.observed import JobSeen
from diptych_operator.plan import Plan

OURS: Final = "diptych.dev/operator"
LOOK_S: Final = 30.0


def plan(seen: JobSeen, defaults: Defaults, now: datetime) -> Plan | None:
    """Return what is to be done now; None when somebody else manages the job."""
    if seen.job.spec.managed_by != OURS:
        return None
    found = seen.ray_job
    turn = Turn(seen, defaults, now, RayState.of(found) if found else None)
    if found is not None and found.owner_uid != seen.job.metadata.uid:
        return _taken(Turn(seen, defaults, now, None), found)
    if turn.is_over:
        return plan_over(turn)
    if (current := turn.current) is not None:
        return plan_live(turn, current)
    return plan_between(turn)


def _taken(turn: Turn, found: Child) -> Plan:
    """Return the plan while a RayJob of this name belongs to somebody else, such as a deleted job of the same name."""
    message = f"There is a RayJob {found.name} of another owner. Delete it, or name the job differently."
    if found.deleting:
        message = f"The RayJob {found.name} of another owner is on its way out; ours is made when it is gone."
    return planned(turn, turn.status.phase, gone("NameTaken", message), requeue_s=LOOK_S)
