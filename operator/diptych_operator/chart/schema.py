"""values.schema.json, by which Helm refuses unknown values and values out of bounds."""

import json
from typing import Any

from diptych_operator.chart.values import Values

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def values_schema() -> str:
    """Return the text of values.schema.json."""
    schema = _without_titles(Values.model_json_schema(by_alias=True))
    return json.dumps({"$schema": DIALECT, "title": "Values of the Diptych chart", **schema}, indent=2) + "\n"


def _without_titles(schema: Any) -> Any:  # noqa: ANN401 - JSON is of any type
    """Return a schema without the titles that pydantic makes up; properties may be called `title`."""
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: _without_titles(value) for name, value in schema.items() if not _is_title(name, value)}


def _is_title(name: str, value: object) -> bool:
    return name == "title" and isinstance(value, str)
