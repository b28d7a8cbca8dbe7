"""Publishing a run that its gates offered: when the DiffusionModel was told to stand for it, by a Job of Kubernetes.

A job without `promotion` publishes while it runs, and tells so in its report.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from diptych_api.jobstatus import FineTuneJobStatus, JobPhase
from diptych_api.names import COMPONENT, publisher_name
from diptych_api.publication import LastWord
from diptych_api.resource import Condition
from diptych_operator.child import Pod, settle
from diptych_operator.conditions import Aspect
from diptych_operator.jobs.children import shared_children
from diptych_operator.jobs.promoted import promotion, stands
from diptych_operator.jobs.turn import Turn
from diptych_operator.manifests.publish_job import PUBLISHING, publish_job
from diptych_operator.plan import Action, Note
from diptych_operator.pod_failures import why_waiting

AGAIN: Final = "Then delete the Job {name}: it is made anew."
QUIET: Final = frozenset({"Publishing", "NotPromoted"})
WAITS: Final = "It is published when its DiffusionModel stands for it."


def published(turn: Turn) -> dict[str, Any]:
    """Return the fields of the status that a pod's last word fills."""
    word = _word(turn) if _has_ended(turn) == "Complete" else None
    return {"published": word.published} if word and word.published else {}


def publishing(turn: Turn) -> tuple[Action, ...]:
    """Return what brings the Job to where it is needed: it goes when its word is in the status."""
    found = turn.seen.publisher
    if turn.status.published and found is not None and not found.deleting:
        return (found.delete,)
    if found is not None or not is_due(turn):
        return ()
    return (*shared_children(turn), *settle(None, publish_job(turn.job, turn.defaults)))


def is_due(turn: Turn) -> bool:
    """Whether a run is to be published from here, and was not yet."""
    asked = turn.job.spec.publish is not None and turn.job.spec.promotion is not None
    done = turn.status.phase == "Succeeded" and not turn.status.published
    return asked and done and stands(turn)


def publication(turn: Turn, phase: JobPhase, status: FineTuneJobStatus) -> Aspect:
    """Return the condition that tells whether the artifact is public."""
    if status.published:
        return Aspect("Published", True, "Published", f"It is at {' and '.join(status.published)}.")
    if phase != "Succeeded":
        return Aspect("Published", False, phase)
    if turn.job.spec.promotion is None:
        settings = turn.job.spec.publish
        return Aspect("Published", False, "DryRun" if settings and settings.dry_run else "NotTold")
    if not stands(turn):
        return Aspect("Published", False, "NotPromoted", f"{WAITS} {promotion(turn, phase).message}")
    return _of_publisher(turn)


def publication_note(before: FineTuneJobStatus, after: FineTuneJobStatus) -> tuple[Note, ...]:
    """Return the Event of what became of a publication after the job had ended."""
    old, new = _told(before), _told(after)
    if new is None or old is None or (old.status, old.reason) == (new.status, new.reason) or new.reason in QUIET:
        return ()
    fine = new.status == "True" or new.reason == "DryRun"
    key = f"{after.attempt} {new.last_transition_time:%Y-%m-%dT%H:%M:%SZ} {new.reason}"
    return (Note("Published" if fine else "NotPublished", new.message, "Normal" if fine else "Warning", key),)


def _told(status: FineTuneJobStatus) -> Condition | None:
    return next((condition for condition in status.conditions if condition.type == "Published"), None)


def _of_publisher(turn: Turn) -> Aspect:
    """Return what became of the Job, as long as it is not public."""
    word, ended = _word(turn), _has_ended(turn)
    if ended == "Failed":
        why = word.failure if word else None
        told = f"{why.reason}: {why.message} {why.hint}".strip() if why else _why_failed(turn)
        again = AGAIN.format(name=publisher_name(turn.job.metadata.name))
        return Aspect("Published", False, why.reason if why else "PublisherFailed", f"{told} {again}")
    if ended == "Complete" and turn.job.spec.publish is not None and turn.job.spec.publish.dry_run:
        return Aspect("Published", False, "DryRun", word.message if word else "")
    return _under_way(turn)


def _under_way(turn: Turn) -> Aspect:
    waiting = why_waiting(_pods(turn), turn.seen.troubles)
    if waiting is not None:
        return Aspect("Published", False, waiting.reason, f"{waiting.message} {waiting.hint}".strip())
    word = _word(turn)
    told = f"Tries again. {word.failure.reason}: {word.failure.message}" if word and word.failure else ""
    return Aspect("Published", False, "Publishing", told)


def _has_ended(turn: Turn) -> str:
    """Return Complete or Failed; empty while the Job goes on, is on its way out or is not there."""
    found = turn.seen.publisher
    if found is None or found.deleting or found.owner_uid != turn.job.metadata.uid:
        return ""
    told: list[Mapping[str, Any]] = found.status.get("conditions") or []
    return next((one["type"] for one in told if one["type"] in {"Complete", "Failed"} and one["status"] == "True"), "")


def _why_failed(turn: Turn) -> str:
    told: list[Mapping[str, Any]] = turn.seen.publisher.status.get("conditions") or [] if turn.seen.publisher else []
    return next((str(one.get("message", "")) for one in told if one["type"] == "Failed"), "")


def _pods(turn: Turn) -> list[Pod]:
    return [pod for pod in turn.seen.pods if pod.labels.get(COMPONENT) == PUBLISHING]


def _word(turn: Turn) -> LastWord | None:
    """Return the last word of the newest pod that has ended."""
    ended = [pod for pod in _pods(turn) if _message(pod)]
    newest = max(ended, key=lambda pod: (pod.created is not None, pod.created), default=None)
    if newest is None:
        return None
    try:
        return LastWord.model_validate_json(_message(newest))
    except ValidationError:
        return None


def _message(pod: Pod) -> str:
    statuses = pod.status.get("containerStatuses") or ()
    return next((one["state"]["terminated"].get("message", "") for one in statuses if _ended(one)), "")


def _ended(status: Mapping[str, Any]) -> bool:
    return "terminated" in (status.get("state") or {})
