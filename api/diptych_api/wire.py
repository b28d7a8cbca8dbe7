"""Between models and the plain values that travel: camelCase keys, only what was set."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from diptych_api.resource import Resource

ModelT = TypeVar("ModelT", bound=BaseModel)


def from_wire(model: type[ModelT], values: Mapping[str, Any]) -> ModelT:
    """Return a model from plain values as JSON has them: camelCase names only, no type is guessed.

    Raises pydantic's ValidationError.
    """
    return from_json(model, json.dumps(values))


def from_json(model: type[ModelT], text: str | bytes) -> ModelT:
    """Return a model from JSON, as `from_wire` does. Raises pydantic's ValidationError."""
    return model.model_validate_json(text, strict=True, by_alias=True, by_name=False)


def to_wire(value: BaseModel) -> dict[str, Any]:
    """Return the plain values of a model: what was set and is not None, with apiVersion and kind of a resource."""
    values = value.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    if isinstance(value, Resource):
        head = {"apiVersion": value.api_version, "kind": str(getattr(value, "kind", ""))}
        return {**head, **{name: part for name, part in values.items() if name not in head}}
    return values
