"""From pydantic's JSON schema to the structural OpenAPI schema that a CRD may hold."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

KEPT = frozenset(
    [
        *("type", "format", "enum", "pattern", "description"),
        *("minimum", "maximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems"),
    ]
)
ANYTHING: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def structural(model: type[BaseModel], *, defaults: bool) -> Schema:
    """Return the structural schema of a model: nothing is referred to, nothing is null.

    With `defaults` the API server fills unset fields in; without, the description tells the default. A kind with
    presets is of the second sort: what the server filled in could not be told from what a person set.
    """
    root = _described(model)
    return _Converter(root.get("$defs", {}), defaults=defaults).convert(root)


@cache
def _described(model: type[BaseModel]) -> Schema:
    return model.model_json_schema(by_alias=True, mode="validation")


class _Converter:
    def __init__(self, definitions: Mapping[str, Schema], *, defaults: bool) -> None:
        self.definitions = definitions
        self.defaults = defaults

    def convert(self, given: Schema) -> Schema:
        """Return the structural form of one JSON schema."""
        source = self.resolve(given)
        if source.get("type") == "object" and "properties" not in source:
            return self.mapping(source)
        schema = {name: source[name] for name in source if name in KEPT or name.startswith("x-kubernetes-")}
        if "const" in source:
            schema["enum"] = [source["const"]]
        for bound, plain in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if bound in source:
                schema |= {plain: source[bound], bound: True}
        if source.get("type") == "array":
            schema["items"] = self.convert(source["prefixItems"][0] if "prefixItems" in source else source["items"])
        if "properties" in source:
            schema["properties"] = {name: self.convert(child) for name, child in source["properties"].items()}
            if source.get("required"):
                schema["required"] = sorted(source["required"])
        self.add_default(schema, source)
        return {name: _whole(value) for name, value in schema.items()}

    def resolve(self, given: Schema) -> Schema:
        """Return a schema without `$ref` and without the null of an optional value; the field's own words win."""
        own = {name: value for name, value in given.items() if name not in ("$ref", "anyOf", "allOf")}
        if "$ref" in given:
            return self.resolve(self.definitions[given["$ref"].rsplit("/", 1)[-1]]) | own
        if "anyOf" in given:
            values = [option for option in given["anyOf"] if option.get("type") != "null"]
            if len(values) != 1:
                raise TypeError(f"a CRD cannot hold a choice of types: {given}")
            return self.resolve(values[0]) | own
        return own

    def mapping(self, source: Schema) -> Schema:
        """Return the schema of a map: free-form, or with values of one type."""
        described: Schema = {name: source[name] for name in ("description", "maxProperties") if name in source}
        values = source.get("additionalProperties")
        if not isinstance(values, dict) or not values:
            return ANYTHING | described
        schema: Schema = {"type": "object", "additionalProperties": self.convert(values), **described}
        self.add_default(schema, source)
        return schema

    def add_default(self, schema: Schema, source: Schema) -> None:
        """Put the default where the server finds it, or say it in the description."""
        default = source.get("default")
        if default is None:
            return
        if self.defaults:
            schema["default"] = self.trimmed(default, source)
        elif not isinstance(default, dict) and default not in ([], ""):
            words = str(default).lower() if isinstance(default, bool) else _words(default)
            schema["description"] = f"{source.get('description', '').rstrip()} Default: {words}.".lstrip()

    def trimmed(self, default: Any, source: Schema) -> Any:  # noqa: ANN401 - defaults are of any type
        """Return a default without what the fields below fill in by themselves.

        The server checks a default against the rules before it fills anything in, so one with rules stays whole.
        """
        if not isinstance(default, dict) or "properties" not in source or "x-kubernetes-validations" in source:
            return _plain(default)
        below = {name: self.resolve(child) for name, child in source["properties"].items()}
        return {
            name: self.trimmed(value, below[name])
            for name, value in default.items()
            if value is not None and value != below[name].get("default")
        }


def _words(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_words(item) for item in value)
    return str(_whole(value))


def _plain(value: Any) -> Any:  # noqa: ANN401 - defaults are of any type
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items() if part is not None}
    return _whole(value)


def _whole(value: Any) -> Any:  # noqa: ANN401 - schemas hold anything
    """Return a float without a fraction as an int, which is how people write it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
