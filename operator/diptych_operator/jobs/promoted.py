"""Whether a job's run became what its model stands for; the DiffusionModel decides, the job tells."""

from typing import Final

from diptych_api.jobstatus import JobPhase
from diptych_operator.conditions import Aspect
from diptych_operator.jobs.turn import Turn
from diptych_operator.models.versions import run_of

TYPE: Final = "Promoted"
NO_MODEL: Final = "There is no DiffusionModel {model} in this namespace: make one of that name."
BY_HAND: Final = "Held against {model} it was turned down. {why}"
WAITS: Final = "{model} asks for a person's word: diptych promote {model} {run}"
OFFERED: Final = "{model} has not looked at it yet."


def promotion(turn: Turn, phase: JobPhase) -> Aspect:
    """Return the condition of a job with `spec.promotion`."""
    asked, model, run = turn.job.spec.promotion, turn.seen.model, run_of(turn.job)
    name = asked.model if asked else ""
    if phase != "Succeeded":
        return Aspect(TYPE, False, phase)
    if stands(turn):
        return Aspect(TYPE, True, "Promoted", f"{name} stands for {run}, or did.")
    if model is None:
        return Aspect(TYPE, False, "NoModel", NO_MODEL.format(model=name))
    looked = next((one for one in model.status.considered if one.run == run), None)
    if looked is not None and looked.outcome == "Rejected":
        return Aspect(TYPE, False, "NotPromoted", BY_HAND.format(model=name, why=looked.message))
    if looked is not None and looked.outcome == "Candidate":
        return Aspect(TYPE, False, "Candidate", WAITS.format(model=name, run=run))
    return Aspect(TYPE, False, "Offered", OFFERED.format(model=name))


def stands(turn: Turn) -> bool:
    """Whether the model stands for the job's run, or did: what was told once is told always."""
    if any(told.type == TYPE and told.status == "True" for told in turn.status.conditions):
        return True
    status, run = turn.seen.model.status if turn.seen.model else None, run_of(turn.job)
    if status is None:
        return False
    versions = [status.current, status.previous, *status.history]
    promoted = {one.run for one in status.considered if one.outcome == "Promoted"}
    return run in promoted | {version.run for version in versions if version is not None}


def is_current(turn: Turn) -> bool:
    """Whether the model stands for the job's run now."""
    current = turn.seen.model.status.current if turn.seen.model else None
    return current is not None and current.run == run_of(turn.job)
