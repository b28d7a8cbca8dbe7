"""The Job that publishes, as it is seen: how it ended, what its pod said last, and what it waits for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from pydantic import ValidationError

from diptych_api.names import COMPONENT, publisher_name
from diptych_api.publication import LastWord
from diptych_operator.child import Child, Pod
from diptych_operator.jobs.turn import Turn
from diptych_operator.manifests.pods import CONTAINER
from diptych_operator.manifests.publish_job import PUBLISHING
from diptych_operator.pod_failures import PodFailure, why_waiting

ENDS: Final = ("Complete", "Failed")
OVER: Final = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Publisher:
    """What is seen of a job's publisher."""

    ended: str = ""
    """Complete or Failed; empty while it goes on, is on its way out or is not there."""
    message: str = ""
    """What Kubernetes says of its failure."""
    is_held: bool = False
    """Whether a queue holds it back."""
    word: LastWord | None = None
    """The last word of the newest pod that has ended."""
    waiting: PodFailure | None = None
    is_silent: bool = False
    """Whether it is complete and nobody can say what came of it: its pod is gone, or said nothing that can be read."""

    @classmethod
    def of(cls, turn: Turn) -> Self:
        """Return what is seen of it."""
        there = turn.seen.publisher
        if there is None or there.deleting or there.owner_uid != turn.job.metadata.uid:
            return cls()
        pods = [pod for pod in turn.seen.pods if pod.labels.get(COMPONENT) == PUBLISHING]
        known = {publisher_name(turn.job.metadata.name), *(pod.name for pod in pods)}
        troubles = [trouble for trouble in turn.seen.troubles if trouble.name in known]
        told, word = _conditions(there), _word(pods)
        ended = next((one for one in ENDS if told.get(one, {}).get("status") == "True"), "")
        all_over = all(pod.status.get("phase") in OVER for pod in pods)
        return cls(
            ended=ended,
            message=str(told.get("Failed", {}).get("message", "")),
            is_held=told.get("Suspended", {}).get("status") == "True",
            word=word,
            waiting=None if ended else why_waiting(pods, troubles),
            is_silent=ended == "Complete" and word is None and all_over,
        )


def _conditions(child: Child) -> dict[str, Mapping[str, Any]]:
    return {str(one.get("type")): one for one in child.status.get("conditions") or ()}


def _word(pods: Sequence[Pod]) -> LastWord | None:
    ended = [pod for pod in pods if _message(pod)]
    newest = max(ended, key=lambda pod: (pod.created is not None, pod.created), default=None)
    if newest is None:
        return None
    try:
        return LastWord.model_validate_json(_message(newest))
    except ValidationError:
        return None


def _message(pod: Pod) -> str:
    statuses = pod.status.get("containerStatuses") or ()
    own: Mapping[str, Any] = next((one for one in statuses if one.get("name") == CONTAINER), {})
    return str(((own.get("state") or {}).get("terminated") or {}).get("message", ""))
