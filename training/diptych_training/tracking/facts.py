"""What MLflow is told of a run: parameters, tags and figures."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from diptych_api.finetunejob import FineTuneJobSpec
from diptych_api.report import Phase, Report
from diptych_api.runstore import RunRecord
from diptych_training.letters import Row

RUN_TAG: Final = "diptych.run"
LONGEST: Final = 6000
"""Letters of a parameter that MLflow takes."""
LONGEST_NAME: Final = 250
UNTOLD: Final = re.compile(r"[^\w./ -]|\.\.+")
"""What names of parameters may not hold."""
STATUS: Final[Mapping[Phase, str]] = {
    "Succeeded": "FINISHED",
    "Failed": "FAILED",
    "Suspended": "KILLED",
    "Cancelled": "KILLED",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One value of a metric at an optimiser step."""

    key: str
    value: float
    step: int


def run_tag(record: RunRecord) -> str:
    """Return by what the run is found again, whoever begins it anew."""
    return f"{record.namespace}/{record.run}"


def params(record: RunRecord) -> dict[str, str]:
    """Return every setting of the run by its dotted name, defaults too."""
    left_out = {"tracking", "publish", *FineTuneJobSpec.mutable}
    values = record.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=left_out)
    return {UNTOLD.sub("_", name)[:LONGEST_NAME]: value[:LONGEST] for name, value in _flat("", values)}


def tags(record: RunRecord) -> dict[str, str]:
    """Return what the run is made of."""
    digests = {"diptych.base": record.base_digest, "diptych.dataset": record.dataset_digest}
    found = {name: digest for name, digest in digests.items() if digest}
    return {RUN_TAG: run_tag(record), **found, **{f"version.{name}": v for name, v in record.versions.items()}}


def figures(row: Row) -> Iterator[Figure]:
    """Yield the figures of a line of metrics.jsonl."""
    named = {
        "loss": row.loss,
        "val_loss": row.val_loss,
        "grad_norm": row.grad_norm,
        "learning_rate": row.learning_rate,
    }
    yield from _figures(named, row.step)


def under_way(report: Report) -> Iterator[Figure]:
    """Yield how fast a run is, what it takes of memory, and where training's time goes."""
    named: dict[str, float | None] = {
        "images_per_second": report.images_per_second,
        "peak_memory_bytes": report.peak_memory_bytes,
        "peak_gpu_memory_bytes": report.peak_gpu_memory_bytes,
        "gpu_seconds": report.gpu_seconds,
    }
    named |= {f"training_seconds/{part.name}": part.seconds for part in report.parts}
    yield from _figures(named, report.step)


def closing(report: Report) -> Iterator[Figure]:
    """Yield what is known at the end: the evaluation, and what the run took."""
    yield from under_way(report)
    yield from _figures({f"phase_seconds/{phase.name}": phase.seconds for phase in report.phases}, report.step)
    for metric in report.metrics:
        values = {f"evaluation/{metric.name}/base": metric.base, f"evaluation/{metric.name}/tuned": metric.tuned}
        yield from _figures(values, report.step)


def _figures(values: Mapping[str, float | None], step: int) -> Iterator[Figure]:
    yield from (Figure(key, float(value), step) for key, value in values.items() if value is not None)


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 -- JSON
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else key, inner)
    else:
        yield prefix, value if isinstance(value, str) else json.dumps(value)
