"""Every choice of the chart makes objects that several versions of Kubernetes take, with narrow rights."""

import importlib.util
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml

from cluster.tools import find
from diptych_api.fieldpaths import bare, wire_fields
from diptych_api.fields import Model
from diptych_api.yaml_tree import to_yaml
from diptych_operator.chart.values import Values
from support.helm import CHART, helm, rendered, the, value_sets

pytestmark = pytest.mark.integration

KUBERNETES = ["1.30", "1.33", "1.36", "1.37"]
# An account by name, so that it can be chosen to make none.
NAMED = {"serviceAccount": {"name": "diptych"}}


def choices(model: type[Model] = Values, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Yield path and value of everything that can be chosen from a few, its default left out."""
    for name, info in wire_fields(model).items():
        kind = bare(info.annotation)
        if kind is bool or get_origin(kind) is Literal:
            options = (True, False) if kind is bool else get_args(kind)
            yield from (((*path, name), option) for option in options if option != info.default)
        elif isinstance(kind, type) and issubclass(kind, Model):
            yield from choices(kind, (*path, name))


def chosen(path: tuple[str, ...], option: object) -> dict[str, Any]:
    """Return values with one choice made."""
    inner: Any = option
    for step in reversed(path):
        inner = {step: inner}
    first = path[0]
    return NAMED | {first: NAMED.get(first, {}) | inner[first]} if len(path) > 1 else NAMED | inner


@pytest.fixture(scope="module")
def renders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a render of each set of values, and of each choice made alone."""
    folder = tmp_path_factory.mktemp("renders")
    cases = value_sets() | {"-".join((*path, str(option))): chosen(path, option) for path, option in choices()}
    assert len(cases) >= 20
    for name, values in cases.items():
        text = helm("template", "diptych", CHART, values=values)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def schemas(version: str, folder: Path) -> str:
    """Return where kubeconform finds the strict schemas of a Kubernetes: here, not where they say they are from."""
    package = importlib.util.find_spec("kubernetes_validate")
    assert package is not None
    assert package.submodule_search_locations is not None
    source = Path(package.submodule_search_locations[0]) / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    for path in source.glob("*.json"):
        text = path.read_text(encoding="utf-8").replace("/api/_definitions.json", "_definitions.json")
        (folder / path.name).write_text(re.sub(r',\s*"\$id": "[^"]*"', "", text), encoding="utf-8")
    return f"{folder}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"


def kubeconform(location: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Return what kubeconform says of some files."""
    command: list[str | Path] = [find("kubeconform"), "-strict", "-summary", "-schema-location", location, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_render_is_valid_for_kubernetes(version: str, renders: Path, tmp_path: Path) -> None:
    # Of these two the Prometheus operator's own types decide, below.
    done = kubeconform(schemas(version, tmp_path), "-skip", "PodMonitor,PrometheusRule", renders)
    assert done.returncode == 0, done.stdout
    assert "Invalid: 0, Errors: 0" in done.stdout


def monitoring_kind(given: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Return what the types of the Prometheus operator say of a PodMonitor or PrometheusRule."""
    return subprocess.run([find("monitoring")], input=to_yaml(given), capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", ["PodMonitor", "PrometheusRule"])
def test_the_prometheus_operator_knows_every_field(kind: str) -> None:
    given = the(kind, rendered(value_sets()["everything"]))
    assert monitoring_kind(given).returncode == 0
    done = monitoring_kind(given | {"spec": given["spec"] | {"grups": []}})
    assert done.returncode == 1
    assert 'unknown field "grups"' in done.stderr


def test_kubeconform_refuses_what_it_should(tmp_path: Path) -> None:
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"prots": []}}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(wrong), encoding="utf-8")
    (tmp_path / "schemas").mkdir()
    done = kubeconform(schemas("1.36", tmp_path / "schemas"), tmp_path / "wrong.yaml")
    assert done.returncode == 1
    assert "prots" in done.stdout


def test_no_rule_of_the_operator_is_wide(renders: Path) -> None:
    for path in renders.glob("*.yaml"):
        for role in yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader):
            if role and role["kind"] in ("Role", "ClusterRole"):
                words = {word for rule in role["rules"] for part in rule.values() for word in part}
                assert not words & {"*", "secrets", "pods/exec", "escalate", "bind", "impersonate"}
