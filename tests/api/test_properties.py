"""Random resources: model to YAML to model, and the CRD's schema against the models."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator
from pydantic import ValidationError

from diptych_api.crd import DEFINITIONS, Definition, resource_schema
from diptych_api.kinds import AnyResource
from diptych_api.wire import from_wire, to_wire
from diptych_api.yaml_reader import read_resources, write_resource
from support.specs import resources

Values = dict[str, Any]
Mutation = tuple[str, Callable[[Any, Values], Any]]

some = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
# OpenAPI 3.0 has the boolean exclusiveMinimum of JSON Schema draft 4.
SCHEMAS = {d.kind: Draft4Validator(resource_schema(d)) for d in DEFINITIONS}
STRATEGIES = {d.kind: resources(d.model) for d in DEFINITIONS}
every_kind = pytest.mark.parametrize("definition", DEFINITIONS, ids=[d.kind for d in DEFINITIONS])


def parse(definition: Definition, values: Values) -> AnyResource:
    resource = from_wire(definition.model, values)
    assert isinstance(resource, AnyResource)
    return resource


@every_kind
def test_model_to_yaml_to_model_is_the_same(definition: Definition) -> None:
    @some
    @given(STRATEGIES[definition.kind])
    def check(values: Values) -> None:
        resource = parse(definition, values)
        assert read_resources(write_resource(resource), "random.yaml") == [resource]

    check()


@every_kind
def test_every_valid_resource_passes_the_schema_of_the_crd(definition: Definition) -> None:
    @some
    @given(STRATEGIES[definition.kind])
    def check(values: Values) -> None:
        SCHEMAS[definition.kind].validate(values)
        SCHEMAS[definition.kind].validate(to_wire(parse(definition, values)))

    check()


@every_kind
def test_every_invalid_resource_is_refused_by_model_and_crd(definition: Definition) -> None:
    @some
    @given(STRATEGIES[definition.kind], st.data())
    def check(values: Values, data: st.DataObject) -> None:
        schema = resource_schema(definition)["properties"]["spec"]
        places = list(leaves(values["spec"], schema, ("spec",)))
        if not places:
            return
        path, leaf = data.draw(st.sampled_from(places))
        name, spoil = data.draw(st.sampled_from(list(spoilers(leaf))))
        broken = copy.deepcopy(values)
        put(broken, path, spoil)
        assert not SCHEMAS[definition.kind].is_valid(broken), (path, name)
        with pytest.raises(ValidationError):
            from_wire(definition.model, broken)

    check()


def leaves(value: Any, schema: Values, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Values]]:  # noqa: ANN401
    """Yield path and schema of every value that a schema bounds."""
    if isinstance(value, dict):
        for name, child in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if inner:
                yield from leaves(child, inner, (*path, name))
    elif isinstance(value, list):
        yield path, schema
        for index, child in enumerate(value):
            yield from leaves(child, schema["items"], (*path, index))
    else:
        yield path, schema


def spoilers(schema: Values) -> Iterator[tuple[str, Any]]:
    """Yield values that a schema refuses, each with the reason."""
    yield "type", {"a": "mapping"} if schema["type"] != "object" else "text"
    if schema["type"] == "string":
        yield "type", 7
    else:
        yield "type", "text"
    if "minimum" in schema:
        yield "minimum", schema["minimum"] - (0 if schema.get("exclusiveMinimum") else 8)
    if "maximum" in schema:
        yield "maximum", schema["maximum"] + (0 if schema.get("exclusiveMaximum") else 8)
    if "multipleOf" in schema:
        yield "multipleOf", schema["minimum"] + 1
    if "maxLength" in schema:
        yield "maxLength", "a" * (schema["maxLength"] + 1)
    if schema.get("minLength"):
        yield "minLength", ""
    if "pattern" in schema:
        yield "pattern", "\x00"
    if "enum" in schema:
        yield "enum", "Nonsense"
    if "maxItems" in schema:
        yield "maxItems", [{}] * (schema["maxItems"] + 1)


def put(target: Any, path: tuple[str | int, ...], value: Any) -> None:  # noqa: ANN401
    """Put a value at a path."""
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
