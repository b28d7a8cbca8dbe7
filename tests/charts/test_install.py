"""Helm installs, upgrades and removes the chart on a real API server."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.control_plane import ControlPlane
from cluster.fixtures import create_namespace
from cluster.objects import conditions, reference
from support.helm import CHART, HOME, RELEASE, helm
from support.waiting import until

pytestmark = pytest.mark.integration

KINDS = ("finetunejobs", "diffusiondeployments", "diffusionmodels", "finetunereports")
CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
MODEL = {
    "apiVersion": "diptych.dev/v1alpha1",
    "kind": "DiffusionModel",
    "metadata": {"name": "flora", "namespace": "default"},
    "spec": {},
}


@pytest.fixture
def cluster(bare_cluster: ControlPlane) -> Iterator[ControlPlane]:
    """Yield the cluster, clean again afterwards."""
    if not bare_cluster.api.is_there(reference("v1", "Namespace", HOME)):
        create_namespace(bare_cluster, HOME)
    yield bare_cluster
    if RELEASE in helm("list", "--short", kubeconfig=bare_cluster.admin_kubeconfig).split():
        helm("uninstall", RELEASE, kubeconfig=bare_cluster.admin_kubeconfig)
    for kind in KINDS:
        bare_cluster.kubectl("delete", "crd", f"{kind}.diptych.dev", "--ignore-not-found")


def install(cluster: ControlPlane, values: dict[str, Any] | None = None, chart: Path = CHART) -> str:
    """Install or upgrade the release, and wait until the definitions are served."""
    told = helm("upgrade", "--install", RELEASE, chart, kubeconfig=cluster.admin_kubeconfig, values=values or {})
    if (values or {}).get("crds", {}).get("enabled", True):
        until(lambda: all(is_served(cluster, kind) for kind in KINDS))
    return told


def definition(cluster: ControlPlane, plural: str) -> dict[str, Any]:
    return cluster.api.read(reference(*CRD, f"{plural}.diptych.dev"))


def is_served(cluster: ControlPlane, plural: str) -> bool:
    return conditions(definition(cluster, plural)).get("Established") == "True"


def columns(cluster: ControlPlane, plural: str) -> list[str]:
    [version] = definition(cluster, plural)["spec"]["versions"]
    return [column["name"] for column in version["additionalPrinterColumns"]]


def older_chart(folder: Path) -> Path:
    """Return a copy of the chart as an earlier release might have been: models have one column less."""
    chart = Path(shutil.copytree(CHART, folder / "diptych"))
    about = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about | {"version": "0.0.9", "appVersion": "0.0.9"}))
    models = chart / "templates" / "crds" / "diffusionmodels.yaml"
    text = models.read_text(encoding="utf-8")
    column = "    - name: Pinned\n      type: string\n      jsonPath: .spec.pin\n"
    assert column in text
    models.write_text(text.replace(column, ""), encoding="utf-8")
    return chart


def test_an_install_brings_definitions_and_tells_the_next_command(cluster: ControlPlane) -> None:
    told = install(cluster)
    assert "watches every namespace" in told
    assert "KubeRay is there." in told
    assert "kubectl apply -f finetunejob.yaml" in told
    assert cluster.kubectl("get", "ftj,dd,dm,ftr", "-A") == ""
    assert cluster.kubectl("get", "deployment", "-n", HOME, "-o", "name") == "deployment.apps/diptych-operator\n"


def test_an_upgrade_brings_new_definitions_and_keeps_the_resources(cluster: ControlPlane, tmp_path: Path) -> None:
    install(cluster, chart=older_chart(tmp_path))
    cluster.api.create(MODEL)
    uid = cluster.api.read(MODEL)["metadata"]["uid"]
    assert "Pinned" not in columns(cluster, "diffusionmodels")
    install(cluster, {"replicas": 2})
    assert "Pinned" in columns(cluster, "diffusionmodels")
    assert cluster.api.read(MODEL)["metadata"]["uid"] == uid
    operator = cluster.api.read(reference("apps/v1", "Deployment", "diptych-operator", HOME))
    assert operator["spec"]["replicas"] == 2


def test_an_uninstall_keeps_definitions_and_resources_and_a_later_install_takes_them_over(
    cluster: ControlPlane,
) -> None:
    install(cluster)
    cluster.api.create(MODEL)
    helm("uninstall", RELEASE, kubeconfig=cluster.admin_kubeconfig)
    assert not cluster.api.is_there(reference("apps/v1", "Deployment", "diptych-operator", HOME))
    assert cluster.api.is_there(MODEL)
    assert columns(cluster, "finetunejobs")
    install(cluster)
    assert cluster.api.is_there(MODEL)


def test_namespaced_mode_installs_without_a_right_in_the_whole_cluster(cluster: ControlPlane) -> None:
    for team in ("team-a", "team-b"):
        if not cluster.api.is_there(reference("v1", "Namespace", team)):
            create_namespace(cluster, team)
    told = install(cluster, {"watchNamespaces": ["team-a", "team-b"]})
    assert "watches the namespaces team-a, team-b" in told
    assert "kubectl apply -f finetunejob.yaml -n team-a" in told
    selected = ("-l", f"app.kubernetes.io/instance={RELEASE}", "-o", "name")
    assert cluster.kubectl("get", "clusterroles,clusterrolebindings", *selected) == ""
    found = cluster.kubectl("get", "roles", "-A", *selected).split()
    assert sorted(found) == [
        "role.rbac.authorization.k8s.io/diptych-operator",
        "role.rbac.authorization.k8s.io/diptych-operator",
        "role.rbac.authorization.k8s.io/diptych-operator-lease",
    ]


def test_an_install_without_the_prometheus_operator_says_what_is_missing(cluster: ControlPlane) -> None:
    with pytest.raises(subprocess.CalledProcessError) as error:
        install(cluster, {"metrics": {"podMonitor": {"enabled": True}}})
    assert 'no matches for kind "PodMonitor" in version "monitoring.coreos.com/v1"' in error.value.stderr
