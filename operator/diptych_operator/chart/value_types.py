"""Types of the chart's values, and the values that become settings of the operator."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from diptych_operator.settings import Settings, variable

VARIABLE = "x-variable"
Labels = dict[Annotated[str, StringConstraints(max_length=317)], Annotated[str, StringConstraints(max_length=63)]]
Annotations = dict[Annotated[str, StringConstraints(max_length=317)], str]
Objects = list[dict[str, Any]]
Duration = Annotated[str, StringConstraints(pattern=r"^[0-9]+(s|m|h)$", max_length=8)]
OptionalName = Annotated[str, StringConstraints(pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$", max_length=63)]


def setting(name: str, default: Any = None, words: str = "") -> Any:  # noqa: ANN401 - fields are of any type
    """Return the field of a value that becomes a setting: with its default and its words, unless others are given."""
    told = Settings.model_fields[name]
    given = told.default if default is None else default
    return Field(default=given, description=words or told.description, json_schema_extra={VARIABLE: variable(name)})
