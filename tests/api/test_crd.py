"""The shape of the CRDs: structural, bounded, described, and as `make generate` wrote them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diptych_api.crd import DEFINITIONS, Definition, crd, resource_schema
from diptych_api.generate import generated_files, main

Values = dict[str, Any]
ROOT = Path(__file__).parents[2]
GENERATED = generated_files()
SCHEMAS = {d.kind: resource_schema(d) for d in DEFINITIONS}
every_kind = pytest.mark.parametrize("definition", DEFINITIONS, ids=[d.kind for d in DEFINITIONS])


def schemas(schema: Values, path: str) -> Iterator[tuple[str, Values]]:
    """Yield path and schema of everything below a schema."""
    yield path, schema
    if "items" in schema:
        yield from schemas(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from schemas(schema["additionalProperties"], f"{path}{{}}")
    for name, child in schema.get("properties", {}).items():
        yield from schemas(child, f"{path}.{name}")


def parts(definition: Definition) -> Iterator[tuple[str, Values]]:
    for part in ("spec", "status"):
        if part in (properties := SCHEMAS[definition.kind]["properties"]):
            yield from schemas(properties[part], part)


@pytest.mark.parametrize("path", GENERATED)
def test_committed_files_are_what_the_models_generate(path: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == GENERATED[path], "run `make generate`"


def test_no_generated_file_is_left_over() -> None:
    kept = {path.relative_to(ROOT).as_posix() for path in (ROOT / "crds").iterdir()}
    assert kept == {path for path in GENERATED if path.startswith("crds/")}


def test_generator_writes_into_the_given_folder(tmp_path: Path) -> None:
    main(tmp_path)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == set(GENERATED)


@every_kind
def test_schema_is_structural(definition: Definition) -> None:
    for path, schema in parts(definition):
        assert isinstance(schema.get("type"), str), path
        assert not {"$ref", "$defs", "anyOf", "allOf", "const", "title", "nullable", "prefixItems"} & set(schema), path
        assert not ("properties" in schema and "additionalProperties" in schema), path


@every_kind
def test_every_field_is_described(definition: Definition) -> None:
    missing = [
        path for path, schema in parts(definition) if not path.endswith(("[]", "{}")) and not schema.get("description")
    ]
    assert missing == []


UNITS = {
    "Seconds": "second",
    "Bytes": "byte",
    "Pixels": "pixel",
    "Percent": "percent",
    "WorkUnits": "work",
    "Side": "pixel",
}


@every_kind
def test_the_text_of_a_quantity_tells_its_unit(definition: Definition) -> None:
    missing = [
        (path, schema["description"])
        for path, schema in parts(definition)
        for name, unit in UNITS.items()
        if path.endswith(name) and schema["type"] in ("integer", "number") and unit not in schema["description"].lower()
    ]
    assert missing == []


BOUNDS: dict[str, set[str]] = {
    "string": {"maxLength"},
    "array": {"maxItems"},
    "integer": {"minimum", "maximum"},
    "number": {"minimum", "maximum"},
    "object": {"properties"},
    "boolean": set(),
}


def is_bounded(schema: Values, *, measured: bool) -> bool:
    """Return whether nobody can put a large value in. Measured numbers have the bounds that nature gives them."""
    if "enum" in schema or schema.get("format") == "date-time" or (measured and schema["type"] == "number"):
        return True
    needed = {"maxProperties"} if "additionalProperties" in schema else BOUNDS[schema["type"]]
    return needed <= set(schema) or "x-kubernetes-preserve-unknown-fields" in schema


@every_kind
def test_every_text_list_and_number_is_bounded(definition: Definition) -> None:
    unbounded = [
        path
        for path, schema in parts(definition)
        if not is_bounded(schema, measured=path.startswith("status") or definition.kind == "FineTuneReport")
    ]
    assert unbounded == []


def test_the_server_fills_no_field_of_a_job_in_since_presets_must_see_what_was_set() -> None:
    assert [path for path, schema in parts(DEFINITIONS[0]) if "default" in schema] == []
    rank = SCHEMAS["FineTuneJob"]["properties"]["spec"]["properties"]["lora"]["properties"]["rank"]
    assert rank["description"].endswith("Default: 16.")


def test_the_server_fills_the_fields_of_a_deployment_in() -> None:
    spec = SCHEMAS["DiffusionDeployment"]["properties"]["spec"]["properties"]
    assert spec["slots"]["default"] == 8
    assert spec["rollout"]["default"] == {}
    assert spec["endpoints"]["default"]["http"]["port"] == 8000
    assert "default" not in spec["replicas"]


@pytest.mark.parametrize(
    ("number", "short", "columns"),
    [
        (0, "ftj", "Phase Progress ETA Loss Attempt GPUs Model Base* Artifact* Age"),
        (1, "dd", "Ready Replicas Adapters P50 URL Phase* Base* Age"),
        (2, "dm", "Current Previous Score Pinned Age"),
        (3, "ftr", "Phase Step Of Age"),
    ],
)
def test_kubectl_shows_the_columns_that_people_need(number: int, short: str, columns: str) -> None:
    [version] = crd(DEFINITIONS[number])["spec"]["versions"]
    names = [f"{c['name']}{'*' if c.get('priority') else ''}" for c in version["additionalPrinterColumns"]]
    assert " ".join(names) == columns
    assert crd(DEFINITIONS[number])["spec"]["names"]["shortNames"] == [short]


@every_kind
def test_columns_point_at_fields_that_exist(definition: Definition) -> None:
    known = {path for path, _ in parts(definition)}
    for _, _, path, _ in definition.columns:
        steps = path.removeprefix(".").split("[")[0]
        assert steps in known or steps == "metadata.creationTimestamp", path


def test_a_deployment_can_be_scaled_and_lists_merge_by_name() -> None:
    [version] = crd(DEFINITIONS[1])["spec"]["versions"]
    assert version["subresources"]["scale"] == {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    lists = [(properties["spec"], "adapters", "name"), (properties["status"], "conditions", "type")]
    for part, field, key in lists:
        assert part["properties"][field]["x-kubernetes-list-type"] == "map"
        assert part["properties"][field]["x-kubernetes-list-map-keys"] == [key]
        assert key in part["properties"][field]["items"]["required"]


def test_jobs_deployments_and_models_have_a_status_subresource() -> None:
    found = {d.kind: set(crd(d)["spec"]["versions"][0].get("subresources", {})) for d in DEFINITIONS}
    assert found["FineTuneJob"] == found["DiffusionModel"] == {"status"}
    assert found["FineTuneReport"] == set()


def test_free_form_pod_patches_are_kept() -> None:
    spec = SCHEMAS["FineTuneJob"]["properties"]["spec"]["properties"]
    template = spec["resources"]["properties"]["pods"]["properties"]["template"]
    assert template["x-kubernetes-preserve-unknown-fields"] is True
