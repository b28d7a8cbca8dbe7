"""The plan of a job with its new status: what was, what the report tells, and what this turn decided."""

from collections.abc import Mapping, Sequence
from typing import Any

from diptych_api.jobstatus import FineTuneJobStatus, JobPhase
from diptych_operator.conditions import Aspect, conditions
from diptych_operator.jobs.aspects import aspects, note
from diptych_operator.jobs.attempts import gpus_of
from diptych_operator.jobs.progress import columns, told
from diptych_operator.jobs.turn import Turn
from diptych_operator.manifests.job_volumes import run_place
from diptych_operator.plan import Action, Plan

LONGEST_PLACE = 1024


def planned(
    turn: Turn,
    phase: JobPhase,
    provisioned: Aspect,
    *,
    changes: Mapping[str, Any] | None = None,
    actions: Sequence[Action] = (),
    requeue_s: float | None = None,
) -> Plan:
    """Return the plan with the status of a phase, and the Event when the phase is new."""
    job, before = turn.job, turn.status
    fields: dict[str, Any] = {
        **told(before, turn.report),
        **(changes or {}),
        "phase": phase,
        "observed_generation": job.metadata.generation,
        "gpus": gpus_of(job),
        "run": before.run or run_place(job)[:LONGEST_PLACE],
    }
    status = before.model_copy(update=fields)
    rest = {
        "columns": columns(job, phase, status.progress),
        "conditions": conditions(
            before.conditions, aspects(turn, phase, status, provisioned), job.metadata.generation, turn.now
        ),
    }
    status = FineTuneJobStatus.model_validate(status.model_copy(update=rest).model_dump())
    return Plan(status, tuple(actions), note(before, status), requeue_s)
