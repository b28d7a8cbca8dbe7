"""The operator's own program under the account that the chart makes: it works, and is refused nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.control_plane import ControlPlane
from cluster.fixtures import create_namespace
from cluster.objects import reference
from diptych_api.names import ray_job_name, ray_service_name
from support.helm import HOME
from support.operator_process import STEADY, OperatorProcess
from support.rights import ACCOUNT, USER, granted, install_account, used
from support.rule_examples import MINIMAL
from support.waiting import until

pytestmark = pytest.mark.integration

TEAM = "rights-in-use"
MODES = {
    "cluster": {},
    "namespaced": {"watchNamespaces": [TEAM]},
    "namespaced with its own namespace": {"watchNamespaces": [TEAM, HOME]},
}
RESOURCES = (
    reference("diptych.dev/v1alpha1", "FineTuneJob", "noto", TEAM)
    | {"spec": MINIMAL["FineTuneJob"] | {"output": {"uri": "s3://bucket/runs"}}},
    reference("diptych.dev/v1alpha1", "DiffusionDeployment", "noto", TEAM) | {"spec": MINIMAL["DiffusionDeployment"]},
)
CHILDREN = (
    reference("ray.io/v1", "RayJob", ray_job_name("noto"), TEAM),
    reference("ray.io/v1", "RayService", ray_service_name("noto"), TEAM),
    reference("rbac.authorization.k8s.io/v1", "Role", "diptych-reporter", TEAM),
)


@dataclass(frozen=True, slots=True)
class Installed:
    """An operator that runs with the rights of some values, and where its requests begin in the audit log."""

    plane: ControlPlane
    operator: OperatorProcess
    values: dict[str, Any]
    mark: int


@pytest.fixture(params=MODES, ids=[mode.replace(" ", "-") for mode in MODES])
def installed(request: pytest.FixtureRequest, control_plane: ControlPlane, tmp_path: Path) -> Iterator[Installed]:
    """Yield the operator in one mode; its rights and resources are gone afterwards."""
    values = MODES[request.param]
    if not control_plane.api.is_there(reference("v1", "Namespace", TEAM)):
        create_namespace(control_plane, TEAM)
    install_account(control_plane, values)
    mark, kubeconfig = control_plane.audit.mark(), control_plane.kubeconfig_for(HOME, ACCOUNT)
    watched = ",".join(values.get("watchNamespaces", []))
    settings = STEADY | {"lease_namespace": HOME, "watch_namespaces": watched}
    with OperatorProcess(kubeconfig, tmp_path, "operator", **settings) as operator:
        yield Installed(control_plane, operator, values, mark)
    for kind in ("finetunejobs", "diffusiondeployments"):
        control_plane.kubectl("delete", kind, "--all", "-n", TEAM)
    for kind in ("clusterroles", "clusterrolebindings", "roles", "rolebindings"):
        control_plane.kubectl("delete", kind, "-A", "-l", "app.kubernetes.io/instance=diptych")


def test_the_operator_works_with_the_rights_of_the_chart(installed: Installed) -> None:
    plane = installed.plane
    for resource in RESOURCES:
        plane.api.create(resource)
    until(lambda: all(plane.api.is_there(child) for child in CHILDREN))
    until(lambda: all(plane.api.read(resource).get("status") for resource in RESOURCES))
    asked = plane.audit.records(installed.mark, user=USER)
    assert [record for record in asked if not record.was_allowed] == []
    assert used(asked) <= granted(installed.values)
    assert installed.operator.complaints() == []
