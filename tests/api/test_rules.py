"""Rules over several fields: the same in Python and in the CRDs, each with an example kept and one broken."""

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft4Validator
from pydantic import BaseModel, ValidationError

from diptych_api import crd as crds
from diptych_api.crd import DEFINITIONS, fixed_fields, resource_schema
from diptych_api.fields import BROKEN_RULE, Model
from diptych_api.kinds import KINDS
from diptych_api.rules import rules_of
from diptych_api.wire import from_wire
from support.rule_examples import EXAMPLES, RuleExample

Values = dict[str, Any]
SCHEMAS = {d.kind: resource_schema(d) for d in DEFINITIONS}
each_example = pytest.mark.parametrize(
    "example", EXAMPLES, ids=[f"{number}-{e.kind}-{e.message}" for number, e in enumerate(EXAMPLES)]
)


def schema_rules(schema: Values) -> Iterator[Values]:
    """Yield every rule of a schema that does not compare with the old object."""
    yield from (rule for rule in schema.get("x-kubernetes-validations", ()) if "oldSelf" not in rule["rule"])
    for inner in (schema[name] for name in ("items", "additionalProperties") if name in schema):
        yield from schema_rules(inner)
    for child in schema.get("properties", {}).values():
        yield from schema_rules(child)


def models(kind: type[BaseModel]) -> set[type[Model]]:
    """Return the models that a kind is made of."""
    found: set[type[Model]] = set()
    waiting: list[Any] = [kind]
    while waiting:
        annotation = waiting.pop()
        if isinstance(annotation, type) and issubclass(annotation, Model) and annotation not in found:
            found.add(annotation)
            waiting += [field.annotation for field in annotation.model_fields.values()]
        waiting += getattr(annotation, "__args__", ())
    return found


@each_example
def test_what_keeps_a_rule_is_accepted(example: RuleExample) -> None:
    values = example.resource(broken=False)
    from_wire(KINDS[example.kind], values)
    Draft4Validator(SCHEMAS[example.kind]).validate(values)


@each_example
def test_what_breaks_a_rule_is_refused_with_its_message(example: RuleExample) -> None:
    with pytest.raises(ValidationError) as error:
        from_wire(KINDS[example.kind], example.resource(broken=True))
    told = [e for e in error.value.errors() if e["type"] == BROKEN_RULE]
    assert any(e["msg"].startswith(example.message) for e in told), error.value


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.kind)
def test_every_rule_of_the_crd_has_an_example(definition: crds.Definition) -> None:
    shown = [example.message for example in EXAMPLES if example.kind == definition.kind]
    messages = {rule["message"] for rule in schema_rules(SCHEMAS[definition.kind])}
    assert [message for message in messages if not message.startswith(tuple(shown))] == []


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.kind)
def test_python_and_crd_have_the_same_rules(definition: crds.Definition) -> None:
    in_python = {(rule.message, rule.cel) for model in models(definition.model) for rule in rules_of(model)}
    in_crd = {(rule["message"], rule["rule"]) for rule in schema_rules(SCHEMAS[definition.kind])}
    assert in_crd == in_python


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_no_model_checks_anything_that_the_crd_does_not_know(kind: type[BaseModel]) -> None:
    for model in models(kind):
        decorators = model.__pydantic_decorators__
        assert set(decorators.model_validators) == {"_obey_rules"}
        assert not decorators.field_validators
        assert not decorators.validators


def test_messages_fit_the_api_server() -> None:
    for definition in DEFINITIONS:
        for rule in schema_rules(SCHEMAS[definition.kind]):
            assert 0 < len(rule["message"]) <= 2048
            assert "\n" not in rule["message"] + rule["rule"]


def test_a_job_is_fixed_but_for_three_fields() -> None:
    spec = SCHEMAS["FineTuneJob"]["properties"]["spec"]
    free = set(spec["properties"]) - set(fixed_fields(DEFINITIONS[0].model))
    assert free == {"suspend", "ttlSecondsAfterFinished", "maxGpuSeconds"}
    transitions = [rule for rule in spec["x-kubernetes-validations"] if "oldSelf" in rule["rule"]]
    assert {rule["fieldPath"] for rule in transitions} == {f".{name}" for name in set(spec["properties"]) - free}


def test_of_a_deployment_only_managed_by_is_fixed() -> None:
    assert fixed_fields(DEFINITIONS[1].model) == ["managedBy"]
