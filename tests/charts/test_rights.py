"""What the operator's account may do on a real API server, and what its pod must be."""

from collections.abc import Iterator
from typing import Any

import pytest

from cluster.control_plane import ControlPlane
from cluster.objects import reference
from cluster.rest import Refused, Rest
from diptych_api import names
from diptych_operator.manifests.accounts import accounts
from support.helm import CHART, HOME, RELEASE, helm, rendered, the, value_sets

pytestmark = pytest.mark.integration

ACCOUNT = f"system:serviceaccount:{HOME}:diptych-operator"
OTHERS = "rights-elsewhere"
WATCHED = "rights-watched"
MAY = (
    "list finetunejobs diptych.dev",
    "watch diffusiondeployments diptych.dev",
    "patch finetunejobs/status diptych.dev",
    "create rayjobs ray.io",
    "patch rayservices ray.io",
    "create jobs batch",
    "delete networkpolicies networking.k8s.io",
    "list pods",
    "create events",
)
MAY_NOT = (
    "patch finetunejobs diptych.dev",
    "delete finetunejobs diptych.dev",
    "create diffusiondeployments diptych.dev",
    "get secrets",
    "list configmaps",
    "create pods",
    "delete pods",
    "create pods/exec",
    "get pods/log",
    "delete serviceaccounts",
    "delete roles rbac.authorization.k8s.io",
    "create clusterroles rbac.authorization.k8s.io",
)


def lease(name: str) -> dict[str, Any]:
    return reference("coordination.k8s.io/v1", "Lease", name, HOME) | {"spec": {"holderIdentity": "one"}}


@pytest.fixture(scope="module", params=["cluster", "namespaced"])
def installed(request: pytest.FixtureRequest, control_plane: ControlPlane) -> Iterator[tuple[ControlPlane, str]]:
    """Yield a cluster with the chart, and how it was installed. The definitions were there before."""
    for name in (HOME, OTHERS, WATCHED):
        if not control_plane.api.is_there(reference("v1", "Namespace", name)):
            control_plane.api.create(reference("v1", "Namespace", name))
    scope = {"watchNamespaces": [WATCHED]} if request.param == "namespaced" else {}
    values = scope | {"crds": {"enabled": False}}
    helm("install", RELEASE, CHART, kubeconfig=control_plane.admin_kubeconfig, values=values)
    yield control_plane, request.param
    helm("uninstall", RELEASE, kubeconfig=control_plane.admin_kubeconfig)


def may(plane: ControlPlane, asked: str, namespace: str) -> bool:
    """Return whether the operator's account may do something, as the API server says."""
    verb, resource, *group = asked.split()
    plural, _, part = resource.partition("/")
    attributes = {
        "namespace": namespace,
        "verb": verb,
        "resource": plural,
        "subresource": part,
        "group": "".join(group),
    }
    attributes["group"] = "".join(group)
    review = reference("authorization.k8s.io/v1", "SubjectAccessReview", "")
    answer = plane.api.create(review | {"spec": {"user": ACCOUNT, "resourceAttributes": attributes}})
    return bool(answer["status"]["allowed"])


@pytest.mark.parametrize("asked", MAY)
def test_the_operator_may_do_its_work(installed: tuple[ControlPlane, str], asked: str) -> None:
    plane, mode = installed
    assert may(plane, asked, WATCHED)
    assert may(plane, asked, OTHERS) == (mode == "cluster")


@pytest.mark.parametrize("asked", MAY_NOT)
def test_the_operator_may_do_nothing_else(installed: tuple[ControlPlane, str], asked: str) -> None:
    plane, _ = installed
    assert not may(plane, asked, WATCHED)
    assert not may(plane, asked, HOME)


def test_the_operator_may_hand_on_the_right_to_report_and_no_other(installed: tuple[ControlPlane, str]) -> None:
    plane, _ = installed
    more = {"apiGroups": ["diptych.dev"], "resources": ["finetunejobs"], "verbs": ["create"]}
    with Rest(plane.url, plane.authority.certificate, plane.token_for(HOME, "diptych-operator")) as operator:
        for manifest in accounts(WATCHED):
            operator.apply(manifest, manager=names.FIELD_MANAGER)
        [role] = [manifest for manifest in accounts(WATCHED) if manifest["kind"] == "Role"]
        with pytest.raises(Refused) as refused:
            operator.apply(role | {"rules": [*role["rules"], more]}, manager=names.FIELD_MANAGER)
    assert "is attempting to grant RBAC permissions not currently held" in refused.value.message


@pytest.mark.parametrize("manifest", accounts(WATCHED), ids=["reporter", "pod", "role", "binding"])
def test_the_operator_makes_no_account_and_no_role_of_another_name(
    installed: tuple[ControlPlane, str], manifest: dict[str, Any]
) -> None:
    plane, _ = installed
    other = manifest | {"metadata": manifest["metadata"] | {"name": "other"}}
    with (
        Rest(plane.url, plane.authority.certificate, plane.token_for(HOME, "diptych-operator")) as operator,
        pytest.raises(Refused) as refused,
    ):
        operator.apply(other, manager=names.FIELD_MANAGER)
    assert refused.value.reason == "Forbidden"


def test_the_operator_keeps_its_own_lease_and_no_other(installed: tuple[ControlPlane, str]) -> None:
    plane, _ = installed
    with Rest(plane.url, plane.authority.certificate, plane.token_for(HOME, "diptych-operator")) as operator:
        assert operator.create(lease("diptych-operator"))["spec"]["holderIdentity"] == "one"
        assert operator.read(lease("diptych-operator"))
        with pytest.raises(Refused) as refused:
            operator.read(lease("kube-scheduler"))
    assert refused.value.reason == "Forbidden"
    plane.api.delete(lease("diptych-operator"))


def test_the_operator_watches_its_own_lease_as_a_heartbeat(installed: tuple[ControlPlane, str]) -> None:
    plane, mode = installed
    path = "/apis/coordination.k8s.io/v1/leases"
    with Rest(plane.url, plane.authority.certificate, plane.token_for(HOME, "diptych-operator")) as operator:
        if mode == "cluster":
            assert operator.request("GET", path, fieldSelector="metadata.name=diptych-operator")["kind"] == "LeaseList"
        with pytest.raises(Refused) as refused:
            operator.request("GET", path)
    assert refused.value.reason == "Forbidden"


@pytest.mark.parametrize("name", value_sets())
def test_the_operators_pod_is_admitted_under_the_restricted_standard(
    control_plane: ControlPlane, namespace: str, name: str
) -> None:
    template = the("Deployment", rendered(value_sets()[name]))["spec"]["template"]
    spec = template["spec"] | {"serviceAccountName": "default"}
    spec.pop("priorityClassName", None)
    pod = reference("v1", "Pod", "operator", namespace) | {"spec": spec}
    assert control_plane.api.create(pod, dry_run=True)["spec"]["containers"][0]["name"] == "operator"
