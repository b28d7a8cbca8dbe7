"""Random resources: model to YAML to model, and the CRD's schema against the models."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator
from pydantic import ValidationError

from diptych_api.crd import DEFINITIONS, Definition, resource_schema
from diptych_api.kinds import AnyResource
from diptych_api.wire import from_wire, to_wire
from diptych_api.yaml_reader import read_resources, write_resource
from support.specs import resources

Values = dict[str, Any]

# A failing resource is told as it was drawn: making it smaller takes minutes.
some = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
# OpenAPI 3.0 has the boolean exclusiveMinimum of JSON Schema draft 4.
SCHEMAS = {d.kind: Draft4Validator(resource_schema(d)) for d in DEFINITIONS}
SPECS = {d.kind: resource_schema(d)["properties"]["spec"] for d in DEFINITIONS}
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
        schema = SPECS[definition.kind]
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


def leaves(value: Any, schema: Values, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Values]]:
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
    yield "type", 7 if schema["type"] == "string" else "text"
    yield "type", {"a": "mapping"}
    for bound, spoil in SPOILERS.items():
        if schema.get(bound) is not None:
            yield bound, spoil(schema)


SPOILERS: dict[str, Callable[[Values], Any]] = {
    "minimum": lambda schema: schema["minimum"] - (0 if schema.get("exclusiveMinimum") else 8),
    "maximum": lambda schema: schema["maximum"] + (0 if schema.get("exclusiveMaximum") else 8),
    "multipleOf": lambda schema: schema["minimum"] + 1,
    "maxLength": lambda schema: "a" * (schema["maxLength"] + 1),
    "minLength": lambda _: "",
    "pattern": lambda _: "\x00",
    "enum": lambda _: "Nonsense",
    "maxItems": lambda schema: [{}] * (schema["maxItems"] + 1),
}


def put(target: Any, path: tuple[str | int, ...], value: Any) -> None:
    """Put a value at a path."""
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
