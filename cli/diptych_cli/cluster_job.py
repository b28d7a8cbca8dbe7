"""A FineTuneJob of a cluster as the commands read it: its status, and the report of its program."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pydantic import ValidationError

from diptych_api.errors import RunFailed
from diptych_api.jobstatus import FineTuneJobStatus, JobPhase
from diptych_api.names import RETRY_ANNOTATION
from diptych_api.report import Report
from diptych_api.yaml_reader import read_resource
from diptych_cli.where import YAML, Where
from diptych_operator.kinds import Manifest

OVER: Final[frozenset[JobPhase]] = frozenset({"Succeeded", "Failed", "Cancelled"})
WAITING: Final = ("Provisioned", "Admitted")
"""Conditions that say what a job waits for, the most telling last."""


@dataclass(frozen=True, slots=True)
class ClusterJob:
    """A job as stored."""

    name: str
    uid: str
    suspend: bool
    retry: str
    """Number of the attempt after which somebody asked for one more; empty when nobody did."""
    status: FineTuneJobStatus

    @classmethod
    def of(cls, found: Manifest) -> Self:
        """Return what matters of an object. Raises RunFailed for a status of a newer version."""
        metadata = found["metadata"]
        try:
            status = FineTuneJobStatus.model_validate(found.get("status") or {})
        except ValidationError as error:
            raise RunFailed(
                f"The status of {metadata['name']} cannot be read: {error.errors()[0]['msg']}.",
                hint="The cluster's Diptych may be newer than this one: update it.",
            ) from error
        retry = (metadata.get("annotations") or {}).get(RETRY_ANNOTATION, "")
        return cls(metadata["name"], metadata["uid"], bool(found["spec"].get("suspend")), retry, status)

    @property
    def is_over(self) -> bool:
        """Whether the job came to its end, and nobody asked for one more attempt."""
        again = self.status.phase == "Failed" and self.retry == str(self.status.attempt)
        return self.status.phase in OVER and not again

    @property
    def rests(self) -> bool:
        """Whether nothing more is said until somebody asks for it."""
        return self.is_over or (self.status.phase == "Suspended" and self.suspend)

    @property
    def why(self) -> str:
        """What the job waits for, as its conditions tell it; empty when it does not wait."""
        messages = {each.type: each.message for each in self.status.conditions if each.status != "True"}
        return next((messages[name] for name in reversed(WAITING) if messages.get(name)), "")

    def report(self, found: Manifest | None) -> Report | None:
        """Return what the program of this job said, None for a report of another job of the same name."""
        owners = [] if found is None else found["metadata"].get("ownerReferences") or []
        if found is None or self.uid not in {owner["uid"] for owner in owners}:
            return None
        return Report.model_validate(found["spec"])


def job_named(target: str, where: Where) -> tuple[str, Where]:
    """Return the name of the job that a target means; a YAML tells name and namespace. Raises SpecInvalid."""
    if Path(target).suffix not in YAML:
        return target, where
    metadata = read_resource(target).metadata
    return metadata.name, Where(where.namespace or metadata.namespace, where.context, where.kubeconfig)
