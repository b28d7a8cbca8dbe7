"""What the chart generates and carries: values, schema, CRDs, alerts, dashboards."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import promql_parser
import pytest
import yaml

from diptych_api.deploymentstatus import DeploymentPhase
from diptych_api.jobstatus import JobPhase
from diptych_api.schema import structural
from diptych_operator.chart.files import generated_files, write
from diptych_operator.chart.reference import values_of_settings
from diptych_operator.chart.values import Values
from diptych_operator.metrics import Metrics
from diptych_operator.settings import VARIABLES

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "diptych"
GENERATED = generated_files()
ALERTS = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
RULES = [rule for group in ALERTS for rule in group["rules"]]
RUNBOOKS = ROOT / "docs" / "runbooks"
# Labels by metric, as the operator has them; a histogram adds `le`, a scrape adds `pod`.
METRICS = {
    name: {*vars(collector)["_labelnames"], "le", "pod"}
    for name, collector in Metrics().registry._names_to_collectors.items()
}
PHASES = {"FineTuneJob": set(get_args(JobPhase)), "DiffusionDeployment": set(get_args(DeploymentPhase))}


def selectors(query: str) -> list[promql_parser.VectorSelector]:
    """Return what a query selects. Raises ValueError when Prometheus could not read it."""
    found: list[promql_parser.VectorSelector] = []

    def visit(part: promql_parser.Expr) -> None:
        if isinstance(part, promql_parser.VectorSelector):
            found.append(part)

    promql_parser.walk(promql_parser.parse(query), visit)
    return found


def groupings(query: str) -> set[str]:
    """Return the labels that a query sums by."""
    found: set[str] = set()

    def visit(part: promql_parser.Expr) -> None:
        if isinstance(part, promql_parser.AggregateExpr) and part.modifier:
            found.update(part.modifier.labels)

    promql_parser.walk(promql_parser.parse(query), visit)
    return found


def queries() -> Iterator[tuple[str, str]]:
    """Yield the name and the query of every alert and panel; Grafana's variables get a value."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for path in sorted((CHART / "files" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                yield (
                    f"{path.stem}: {panel['title']} {target['refId']}",
                    target["expr"].replace("$__rate_interval", "5m"),
                )


QUERIES = list(queries())
every_query = pytest.mark.parametrize(("name", "query"), QUERIES, ids=[name for name, _ in QUERIES])


@pytest.mark.parametrize("path", GENERATED)
def test_committed_files_are_what_the_models_generate(path: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == GENERATED[path], "run `make generate`"


def test_no_generated_file_is_left_over() -> None:
    folders = [CHART / "templates" / "crds", CHART / "files" / "dashboards"]
    kept = {path.relative_to(ROOT).as_posix() for folder in folders for path in folder.iterdir()}
    assert kept <= set(GENERATED)


def test_the_generator_writes_into_the_given_folder(tmp_path: Path) -> None:
    write(tmp_path)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == set(GENERATED)


def fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield path and schema of every value."""
    for name, child in schema.get("properties", {}).items():
        yield f"{path}{name}", child
        yield from fields(child, f"{path}{name}.")


def test_every_value_is_described_in_the_file_and_on_its_page() -> None:
    comments = " ".join(line.strip("# -") for line in GENERATED["charts/diptych/values.yaml"].splitlines())
    for path, schema in fields(structural(Values, defaults=True)):
        assert f"`{path}` |" in GENERATED["docs/reference/chart.md"]
        assert schema["description"]
        assert "properties" in schema or schema["description"] in comments, path


def test_the_defaults_obey_the_schema() -> None:
    schema = json.loads(GENERATED["charts/diptych/values.schema.json"])
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(GENERATED["charts/diptych/values.yaml"]), schema)


def test_every_setting_but_those_that_the_pod_tells_has_a_value() -> None:
    told = dict(values_of_settings())
    assert set(VARIABLES) - set(told) == {"DIPTYCH_LEASE_NAMESPACE", "DIPTYCH_IDENTITY", "DIPTYCH_PORT"}
    assert set(told) <= set(VARIABLES)


def test_a_definition_in_the_chart_is_that_of_crds_and_is_kept() -> None:
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        template = (CHART / "templates" / "crds" / path.name).read_text(encoding="utf-8")
        plain = yaml.safe_load("\n".join(line for line in template.splitlines() if "{{" not in line))
        labels_and_keep = {"labels": None, "annotations": {"helm.sh/resource-policy": "keep"}}
        wanted: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        wanted["metadata"] |= labels_and_keep
        assert plain == wanted


@every_query
def test_a_query_asks_for_metrics_and_labels_that_exist(name: str, query: str) -> None:
    found = selectors(query)
    assert found
    known = set().union(*(METRICS[str(selector.name)] for selector in found))
    asked = {matcher.name for selector in found for matcher in selector.matchers.matchers}
    assert asked | groupings(query) <= known


@every_query
def test_a_query_names_phases_that_exist(name: str, query: str) -> None:
    for selector in selectors(query):
        values = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
        if "phase" in values:
            assert set(values["phase"].split("|")) <= PHASES[values["kind"]]


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_says_what_is_wrong_and_has_a_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"]["summary"].endswith(".")
    file = RUNBOOKS / rule["annotations"]["runbook_url"].rpartition("/")[2]
    assert file.stem == rule["alert"]
    text = file.read_text(encoding="utf-8")
    assert text.startswith(f"# {rule['alert']}\n")
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## What it means", "## Look", "## Do"]


def test_no_runbook_is_without_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == {rule["alert"] for rule in RULES}


def test_panels_of_a_dashboard_lie_beside_each_other() -> None:
    for path in (CHART / "files" / "dashboards").glob("*.json"):
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            place = panel["gridPos"]
            cells = {(place["x"] + column, place["y"]) for column in range(place["w"])}
            assert place["x"] + place["w"] <= 24
            assert not cells & taken
            taken |= cells
