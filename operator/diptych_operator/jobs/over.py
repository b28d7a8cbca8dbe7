"""A job that has come to its end: its status stays, its pods go after their time to live.

What is to be published after a promotion is published from here.
"""

from diptych_operator.child import settle
from diptych_operator.jobs.aspects import gone
from diptych_operator.jobs.children import ray_job_with
from diptych_operator.jobs.publication import published, publishing
from diptych_operator.jobs.status import planned
from diptych_operator.jobs.turn import Turn
from diptych_operator.plan import Action, Plan


def plan_over(turn: Turn) -> Plan:
    """Return the plan of a finished job."""
    actions = (*_rest(turn), *(() if turn.refused else publishing(turn)))
    return planned(turn, turn.status.phase, gone("Finished"), changes=published(turn), actions=actions)


def _rest(turn: Turn) -> tuple[Action, ...]:
    """Return what becomes of the RayJob: KubeRay clears up what it ended itself, all else is deleted."""
    found = turn.seen.ray_job
    if found is None or found.deleting or turn.ray is None:
        return ()
    if not turn.ray.is_over:
        return (found.delete,)
    wanted = ray_job_with(turn, found)
    return settle(found, wanted) if wanted else ()
