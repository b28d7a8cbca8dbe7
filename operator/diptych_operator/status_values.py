"""A status as plain values: nothing that is empty."""

from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from diptych_operator.kinds import Manifest
from diptych_operator.plan import AnyStatus

LONGEST_MESSAGE: Final = 2048
HINT: Final = "It was stored by another version: write it again by this version's documentation, or upgrade Diptych."


def status_values(status: AnyStatus) -> dict[str, Any]:
    """Return a status as it travels."""
    values: dict[str, Any] = without_empty(status.model_dump(mode="json", by_alias=True, exclude_none=True))
    return values


def unreadable_status(found: Manifest, error: ValidationError, now: datetime) -> dict[str, Any]:
    """Return the status of a resource that this version cannot read; what the status said before stays."""
    first = error.errors()[0]
    where = ".".join(str(step) for step in first["loc"])
    message = f"{where}: {first['msg']}. {HINT}"[:LONGEST_MESSAGE]
    before: dict[str, Any] = found.get("status") or {}
    conditions = [condition for condition in before.get("conditions", ()) if condition["type"] != "Readable"]
    known: dict[str, Any] = next((c for c in before.get("conditions", ()) if c["type"] == "Readable"), {})
    told = {
        "type": "Readable",
        "status": "False",
        "reason": "SpecInvalid",
        "message": message,
        "observedGeneration": found["metadata"].get("generation", 0),
        "lastTransitionTime": known.get("lastTransitionTime") or f"{now:%Y-%m-%dT%H:%M:%SZ}",
    }
    values: dict[str, Any] = without_empty({**before, "conditions": [*conditions, told]})
    return values


def without_empty(value: Any) -> Any:  # noqa: ANN401 - any part of a status
    """Return a status without empty parts. The API server adds those of the CRD's defaults to what is stored."""
    if isinstance(value, dict):
        parts = {name: without_empty(part) for name, part in value.items()}
        return {name: part for name, part in parts.items() if part not in ("", [], {})}
    return [without_empty(item) for item in value] if isinstance(value, list) else value
