"""What the chart makes of values: as kept in golden/, read by the operator as meant, refused when values are wrong.

`GOLDEN=write pytest tests/charts/test_render.py` writes golden/ anew; read the difference before you commit it.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from diptych_operator.chart.reference import values_of_settings
from diptych_operator.settings import VARIABLES, Settings, read_settings
from support.helm import CHART, helm, rendered, the, value_sets

pytestmark = pytest.mark.integration

HERE = Path(__file__).parent
SETS = value_sets()
every_set = pytest.mark.parametrize("name", SETS)


@every_set
def test_lint_has_nothing_to_say(name: str) -> None:
    told = helm("lint", "--strict", CHART, values=SETS[name])
    assert "1 chart(s) linted, 0 chart(s) failed" in told


@every_set
def test_a_render_is_the_one_that_is_kept(name: str) -> None:
    text = helm("template", "diptych", CHART, "--set", "crds.enabled=false", values=SETS[name])
    kept = HERE / "golden" / f"{name}.yaml"
    if os.environ.get("GOLDEN") == "write":
        kept.write_text(text, encoding="utf-8")
    assert text == kept.read_text(encoding="utf-8"), "read the difference, then run with GOLDEN=write"


def test_every_kept_render_has_its_values() -> None:
    assert {path.stem for path in (HERE / "golden").iterdir()} == set(SETS)


def environment(values: dict[str, Any]) -> dict[str, str]:
    """Return the operator's variables as its pod would have them."""
    [container] = the("Deployment", rendered(values))["spec"]["template"]["spec"]["containers"]
    fields = {"metadata.namespace": "diptych-system", "metadata.name": "diptych-operator-0"}
    return {
        variable["name"]: variable.get("value") or fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        for variable in container["env"]
        if variable["name"] in VARIABLES and variable.get("value") != ""
    }


def test_the_operator_reads_the_chart_s_defaults_as_its_own() -> None:
    own = {"identity": "diptych-operator-0", "lease_namespace": "diptych-system"}
    assert read_settings(environment({})) == Settings().model_copy(update=own)


def test_the_operator_reads_what_the_values_say() -> None:
    values = SETS["everything"] | {"watchNamespaces": ["team-a", "team-b"]}
    settings = read_settings(environment(values))
    for variable, path in values_of_settings():
        said: Any = values
        for step in path.split("."):
            said = said[step]
        assert getattr(settings, VARIABLES[variable]) == said
        assert said != getattr(Settings(), VARIABLES[variable]), f"{path} is at its default"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"replica": 2}, "additional properties 'replica' not allowed"),
        ({"replicas": 3}, "'/replicas': value must be one of 0, 1, 2"),
        ({"metrics": {"podMonitor": {"enable": True}}}, "additional properties 'enable' not allowed"),
        ({"log": {"level": "verbose"}}, "'/log/level': value must be one of 'debug', 'info', 'warning', 'error'"),
        ({"reconciling": {"concurrency": 0}}, "'/reconciling/concurrency': minimum: got 0, want 1"),
        ({"watchNamespaces": "team-a"}, "'/watchNamespaces': got string, want array"),
        ({"watchNamespaces": ["Team A"]}, "'/watchNamespaces/0': 'Team A' does not match pattern"),
        ({"image": {"digest": "latest"}}, "'/image/digest': 'latest' does not match pattern"),
        ({"reconciling": {"requestTimeoutSeconds": 15}}, "15 must be below lease.seconds, 15"),
        ({"serviceAccount": {"create": False}}, "Name the account that the operator runs as"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_place(values: dict[str, Any], told: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as error:
        rendered(values)
    assert told in error.value.stderr


def test_values_of_a_parent_chart_are_taken() -> None:
    assert rendered({"global": {"registry": "registry.example"}})


def test_namespaced_mode_grants_nothing_in_the_whole_cluster() -> None:
    kinds = [each["kind"] for each in rendered(SETS["namespaced"])]
    assert not {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "PriorityClass"} & set(kinds)
    assert kinds.count("Role") == kinds.count("RoleBinding") == len(SETS["namespaced"]["watchNamespaces"]) + 1
