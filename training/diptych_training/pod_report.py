"""A report as the FineTuneReport of its job: what the head pod applies and the operator copies into the status."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from diptych_api.errors import SpecInvalid
from diptych_api.fields import API_VERSION
from diptych_api.finetunejob import FineTuneJob
from diptych_api.names import labels, report_name
from diptych_api.report import Report

PATH: Final = f"/apis/{API_VERSION}/namespaces/{{namespace}}/finetunereports/{{name}}"
CUT, MISSING = "string_too_long", "missing"
PROSE: Final = frozenset({"message", "hint"})
ROUNDS: Final = 3
"""Taking a field away can show that something needs it, which then goes too."""


def report_path(job: FineTuneJob, namespace: str) -> str:
    """Return the URL path of a job's report."""
    return PATH.format(namespace=namespace, name=report_name(job.metadata.name))


def check_identity(job: FineTuneJob) -> None:
    """Raise SpecInvalid for a job without the uid that makes the report its child."""
    if not job.metadata.uid:
        raise SpecInvalid(
            "metadata.uid is missing, so no report can belong to the job.",
            hint="The operator writes it into the job file; from a shell, leave DIPTYCH_REPORT out.",
        )


def manifest(job: FineTuneJob, namespace: str, report: Report, attempt: int) -> dict[str, Any]:
    """Return the FineTuneReport of a job, which Kubernetes removes with the job."""
    name, uid = job.metadata.name, job.metadata.uid or ""
    owner = {"apiVersion": API_VERSION, "kind": job.kind, "name": name, "uid": uid, "controller": True}
    said = fitted(report.model_copy(update={"attempt": attempt}))
    return {
        "apiVersion": API_VERSION,
        "kind": "FineTuneReport",
        "metadata": {
            "name": report_name(name),
            "namespace": namespace,
            "labels": labels(uid, job=name),
            "ownerReferences": [owner],
        },
        "spec": said.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


def fitted(report: Report) -> Report:
    """Return a report within the bounds of its schema, which the API server would refuse otherwise.

    Sentences that are too long are cut; what else is out of bounds, such as a loss that is no number, is left out.
    """
    values = report.model_dump(mode="json")
    for _ in range(ROUNDS):
        try:
            return Report.model_validate(values)
        except ValidationError as error:
            for mistake in error.errors(include_url=False):
                _mend(values, mistake["loc"], mistake["type"], mistake.get("ctx", {}))
    return Report(phase=report.phase, attempt=report.attempt, time=report.time)


def _mend(values: dict[str, Any], place: tuple[int | str, ...], kind: str, bounds: Mapping[str, Any]) -> None:
    """Cut the text at a place or take its field away; what cannot be without that field goes as a whole."""
    holder: Any = values
    for step in place[:-1]:
        holder = holder[step]
    if kind == CUT and place[-1] in PROSE:
        holder[place[-1]] = f"{holder[place[-1]][: bounds['max_length'] - 1]}…"
    elif kind == MISSING or not isinstance(holder, dict):
        values.pop(str(place[0]), None)
    else:
        holder.pop(place[-1])
