"""The plan of a DiffusionModel: it has no children, so all of it is one status."""

from datetime import datetime
from typing import Final, Literal

from diptych_api.diffusionmodel import DiffusionModel, DiffusionModelStatus, ModelColumns, ModelPhase, ModelVersion
from diptych_api.report import MetricValue
from diptych_operator.conditions import Aspect, conditions, last_change
from diptych_operator.defaults import Defaults
from diptych_operator.models.promotion import Standing, bounded, consider, follow_pin
from diptych_operator.models.versions import offers
from diptych_operator.observed import ModelSeen
from diptych_operator.plan import Note, Plan

SPOKEN: Final = {"ValidationLoss": "val loss", "StyleDistance": "style distance", "CLIPScore": "CLIP score"}
LONGEST_SCORE: Final = 64
NO_VERSION: Final = "No artifact was promoted. Set spec.promotion.model of a FineTuneJob to this name."
MISSING: Final = (
    "spec.pin names {pin}, which is no known version. What was current stays. "
    "Name a run of status.history, or leave pin out."
)


def plan(seen: ModelSeen, defaults: Defaults, now: datetime) -> Plan:  # noqa: ARG001 - as every plan is asked
    """Return what the name stands for now, and what is told about it."""
    model, before = seen.model, seen.model.status
    offered = offers(model.metadata.name, seen.jobs)
    standing = consider(Standing(before), model.spec, offered, now)
    standing = follow_pin(standing, model.spec, offered, now)
    status = bounded(standing.status, model.spec.history_limit)
    changes = {
        "phase": _phase(model, status, standing),
        "observed_generation": model.metadata.generation,
        "conditions": conditions(before.conditions, [_ready(model, standing)], model.metadata.generation, now),
        "columns": ModelColumns(score=score(status.current)),
    }
    after = status.model_copy(update=changes)
    return Plan(status=after, notes=(*standing.notes, *_note(before, after)))


def score(version: ModelVersion | None) -> str:
    """Return the first gate's figure and how far it is from the base's, such as `val loss 0.124 (−34 %)`."""
    figure = next((figure for figure in version.metrics if figure.tuned is not None), None) if version else None
    if figure is None or figure.tuned is None:
        return ""
    return f"{SPOKEN.get(figure.name, figure.name)} {figure.tuned:.3g}{_change(figure)}"[:LONGEST_SCORE]


def _change(figure: MetricValue) -> str:
    if not figure.base or figure.tuned is None:
        return ""
    percent = round(100 * (figure.tuned - figure.base) / abs(figure.base))
    return f" ({'−' if percent < 0 else '+'}{abs(percent)} %)"


def _phase(model: DiffusionModel, status: DiffusionModelStatus, standing: Standing) -> ModelPhase:
    if standing.pin_missing:
        return "PinMissing"
    if status.current is None:
        return "Empty"
    return "Ready" if model.spec.pin is None else "Pinned"


def _ready(model: DiffusionModel, standing: Standing) -> Aspect:
    current = standing.status.current
    if standing.pin_missing:
        return Aspect("Ready", False, "PinMissing", MISSING.format(pin=model.spec.pin))
    if current is None:
        return Aspect("Ready", False, "NoVersion", NO_VERSION)
    return Aspect("Ready", True, "Pinned" if model.spec.pin else "Promoted", f"{current.run} is the current version.")


def _note(before: DiffusionModelStatus, after: DiffusionModelStatus) -> tuple[Note, ...]:
    """Return the Event of a new phase, or of a pin that is missing as none was before; none while all stays."""
    same = before.phase == after.phase and before.observed_generation is not None
    if same and (after.phase != "PinMissing" or before.conditions == after.conditions):
        return ()
    kind: Literal["Normal", "Warning"] = "Warning" if after.phase == "PinMissing" else "Normal"
    key = f"{after.observed_generation} {last_change(before.conditions)}"
    return (Note(after.phase, after.conditions[0].message, kind, key),)
