"""Publishing a run that its gates offered: while the DiffusionModel stands for it, by a Job of Kubernetes.

A place has one artifact at a time, so a run whose turn is over is not sent any more. A job without `promotion`
publishes while it runs, and tells so in its report.
"""

from typing import Any, Final

from pydantic import ValidationError

from diptych_api.errors import DiptychError
from diptych_api.jobstatus import FineTuneJobStatus, JobPhase
from diptych_api.names import publisher_name
from diptych_api.resource import Condition
from diptych_operator.child import settle
from diptych_operator.conditions import Aspect
from diptych_operator.jobs.children import shared_children
from diptych_operator.jobs.promoted import is_current, promotion, stands
from diptych_operator.jobs.publisher import Publisher
from diptych_operator.jobs.turn import Turn
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.publish_job import publish_job
from diptych_operator.models.versions import run_of
from diptych_operator.plan import Action, Note

TYPE: Final = "Published"
AGAIN: Final = "Then delete the Job {name}: it is made anew."
WAITS: Final = "It is published when its DiffusionModel stands for it."
SUPERSEDED: Final = "Its DiffusionModel stands for another run, which has the place: pin this one to publish it."
QUIET: Final = frozenset({"Publishing", "NotPromoted", "Superseded"})


def published(turn: Turn) -> dict[str, Any]:
    """Return the fields of the status that a pod's last word fills."""
    found = Publisher.of(turn)
    word = found.word if found.ended == "Complete" else None
    return {"published": word.published} if word and word.published else {}


def publishing(turn: Turn) -> tuple[Action, ...]:
    """Return what brings the Job to where it is needed.

    It goes when its word is in the status, when its run is not the one to be published any more, and to be made anew
    when nobody can say what came of it.
    """
    there, found = turn.seen.publisher, Publisher.of(turn)
    if there is not None:
        over = bool(turn.status.published) or (not is_due(turn) and not found.ended) or found.is_silent
        return (there.delete,) if over and not there.deleting else ()
    wanted = _wanted(turn) if is_due(turn) else None
    return (*shared_children(turn), *settle(None, wanted)) if isinstance(wanted, dict) else ()


def is_due(turn: Turn) -> bool:
    """Whether a run is to be published from here, and was not yet."""
    asked = turn.job.spec.publish is not None and turn.job.spec.promotion is not None
    return asked and turn.status.phase == "Succeeded" and not turn.status.published and is_current(turn)


def publication(turn: Turn, phase: JobPhase, status: FineTuneJobStatus) -> Aspect:
    """Return the condition that tells whether the artifact is public."""
    if status.published:
        return Aspect(TYPE, True, "Published", f"It is at {' and '.join(status.published)}.")
    if phase != "Succeeded":
        return Aspect(TYPE, False, phase)
    if turn.job.spec.promotion is None:
        settings = turn.job.spec.publish
        return Aspect(TYPE, False, "DryRun" if settings and settings.dry_run else "NotTold")
    if not stands(turn):
        return Aspect(TYPE, False, "NotPromoted", f"{WAITS} {promotion(turn, phase).message}")
    if turn.seen.publisher is None:
        return _before(turn)
    return _of_publisher(turn)


def note(before: FineTuneJobStatus, after: FineTuneJobStatus) -> tuple[Note, ...]:
    """Return the Event of what became of a publication after the job had ended."""
    old, new = _told(before), _told(after)
    if new is None or old is None or (old.status, old.reason) == (new.status, new.reason) or new.reason in QUIET:
        return ()
    fine = new.status == "True" or new.reason == "DryRun"
    key = f"{after.attempt} {new.last_transition_time:%Y-%m-%dT%H:%M:%SZ} {new.reason}"
    return (Note("Published" if fine else "NotPublished", new.message, "Normal" if fine else "Warning", key),)


def _before(turn: Turn) -> Aspect:
    """Return why there is no Job yet."""
    if not is_current(turn):
        return Aspect(TYPE, False, "Superseded", SUPERSEDED)
    if turn.seen.refused:
        return Aspect(TYPE, False, "Refused", turn.seen.refused)
    wanted = _wanted(turn)
    return Aspect(TYPE, False, "SpecInvalid", wanted) if isinstance(wanted, str) else Aspect(TYPE, False, "Publishing")


def _of_publisher(turn: Turn) -> Aspect:
    """Return what became of the Job, as long as the run is not public."""
    found, settings = Publisher.of(turn), turn.job.spec.publish
    why = found.word.failure if found.word else None
    if found.ended == "Failed":
        told = f"{why.reason}: {why.message} {why.hint}".strip() if why else found.message
        again = AGAIN.format(name=publisher_name(turn.job.metadata.name))
        return Aspect(TYPE, False, why.reason if why else "PublisherFailed", f"{told} {again}")
    if found.ended == "Complete" and settings is not None and settings.dry_run and found.word:
        return Aspect(TYPE, False, "DryRun", found.word.message)
    if found.waiting is not None:
        return Aspect(TYPE, False, found.waiting.reason, f"{found.waiting.message} {found.waiting.hint}".strip())
    if found.is_held:
        return Aspect(TYPE, False, "WaitingForQuota", "The queue has not let the Job in yet.")
    return Aspect(TYPE, False, "Publishing", f"Tries again. {why.reason}: {why.message}" if why else "")


def _wanted(turn: Turn) -> Manifest | str:
    """Return the Job, or why there can be none."""
    try:
        return publish_job(turn.job, run_of(turn.job), turn.defaults)
    except DiptychError as error:
        return str(error)
    except ValidationError as error:
        return f"spec.preset does not fit the fields that are set: {error.errors()[0]['msg']}."


def _told(status: FineTuneJobStatus) -> Condition | None:
    return next((condition for condition in status.conditions if condition.type == TYPE), None)
