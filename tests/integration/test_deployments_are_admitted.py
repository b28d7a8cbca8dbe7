"""Whatever a deployment says: the API server takes its children, and KubeRay makes of them what was meant."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from cluster.control_plane import ControlPlane
from cluster.objects import Values, reference
from diptych_api.diffusiondeployment import DiffusionDeployment
from diptych_api.errors import SpecInvalid
from diptych_api.servingconfig import ServedAdapter
from diptych_api.wire import from_wire
from diptych_operator.defaults import Defaults
from diptych_operator.deployments.found_adapters import found_adapters, served
from diptych_operator.deployments.keeping import keep
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.accounts import accounts
from diptych_operator.manifests.budget import disruption_budget
from diptych_operator.manifests.deployment_policy import deployment_policy
from diptych_operator.manifests.httproute import http_route
from diptych_operator.manifests.ingress import ingress
from diptych_operator.manifests.rayservice import ray_service
from diptych_operator.observed import DeploymentSeen
from diptych_operator.sealing import drifted, sealed
from support.deployment_specs import deployments
from support.waiting import until

pytestmark = pytest.mark.integration
DEPLOYMENTS = 500
CHILDREN = {"RayService", "NetworkPolicy", "PodDisruptionBudget", "Ingress", "HTTPRoute"}
DEFAULTS = Defaults(image="image:1")
bounded = settings(
    max_examples=DEPLOYMENTS,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_the_children_of_random_deployments_are_taken_and_kept_as_they_are(
    control_plane: ControlPlane, namespace: str
) -> None:
    prepare(control_plane, namespace)
    taken: list[set[str]] = []

    @bounded
    @given(found=deployments(namespace))
    def run(found: DiffusionDeployment) -> None:
        try:
            children = made(found)
        except SpecInvalid:
            return
        for child in children:
            assert not drifted(control_plane.api.apply(sealed(child), dry_run=True))
        if found.spec.pods.priority_class_name is None and found.spec.pods.service_account_name is None:
            for pod in pods(children[0], namespace):
                control_plane.api.create(pod, dry_run=True)
        taken.append({child["kind"] for child in children})

    run()
    assert len(taken) > DEPLOYMENTS // 2
    assert set().union(*taken) == CHILDREN


def prepare(control_plane: ControlPlane, namespace: str) -> None:
    for account in accounts(namespace):
        control_plane.api.apply(account)


def made(found: DiffusionDeployment) -> list[Manifest]:
    """Return the children of a deployment."""
    adapters = served(found_adapters(DeploymentSeen(found)))
    places = [adapter.uri for adapter in adapters if adapter.uri is not None]
    children = [
        ray_service(found, adapters, DEFAULTS),
        deployment_policy(found, DEFAULTS, places),
        disruption_budget(found),
        ingress(found),
        http_route(found),
    ]
    return [child for child in children if child is not None]


def pods(manifest: Manifest, namespace: str) -> Iterator[Values]:
    """Yield the pods that KubeRay makes of a RayService, with the containers that it adds."""
    cluster = manifest["spec"]["rayClusterConfig"]
    options = cluster["autoscalerOptions"]
    parts = ("securityContext", "resources", "env", "volumeMounts")
    for number, group in enumerate([cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]):
        template = group["template"]
        ray = template["spec"]["containers"][0]
        waits = {"name": "wait-gcs-ready", "image": ray["image"], "securityContext": ray["securityContext"]}
        scales = {"name": "autoscaler", "image": ray["image"], **{part: options[part] for part in parts}}
        metadata = template["metadata"] | {"name": f"pod-{number}", "namespace": namespace}
        added = {"initContainers": [waits]} if number else {"containers": [*template["spec"]["containers"], scales]}
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"] | added}


@pytest.fixture
def service(control_plane: ControlPlane, kuberay_namespace: str) -> "Service":
    prepare(control_plane, kuberay_namespace)
    return Service(control_plane, kuberay_namespace)


class Service:
    """A RayService of ours in KubeRay's hands."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane, self.namespace = plane, namespace
        self.applied: Manifest | None = None

    def apply(self, *adapters: str, **spec: Any) -> None:
        """Apply what a deployment with these adapters comes to."""
        head = {"name": "noto", "namespace": self.namespace, "uid": "u", "generation": 1}
        values = {"metadata": head, "spec": {"base": {"builtin": "tiny-emoji"}} | spec}
        kind = {"apiVersion": "diptych.dev/v1alpha1", "kind": "DiffusionDeployment"}
        found = from_wire(DiffusionDeployment, kind | values)
        given = [ServedAdapter(name=name, uri=f"s3://bucket/{name}") for name in adapters]
        self.applied = keep(ray_service(found, given, DEFAULTS), self.applied)
        metadata = {name: part for name, part in self.applied["metadata"].items() if name != "ownerReferences"}
        self.plane.api.apply({**self.applied, "metadata": metadata})
        # While a cluster starts, KubeRay writes no status for a new generation; without conditions it does.
        self.plane.api.patch(self.seen, {"status": {"conditions": []}}, subresource="status")
        until(lambda: self.seen.get("status", {}).get("observedGeneration") == self.seen["metadata"]["generation"])

    @property
    def seen(self) -> Values:
        return self.plane.api.read(reference("ray.io/v1", "RayService", "noto-serve", self.namespace))

    @property
    def clusters(self) -> set[str]:
        found = self.plane.api.listed("ray.io/v1", "RayCluster", self.namespace)
        return {cluster["metadata"]["name"] for cluster in found if "deletionTimestamp" not in cluster["metadata"]}

    def pods(self, group: str) -> list[Values]:
        return self.plane.api.listed("v1", "Pod", self.namespace, labels=f"ray.io/group={group}")


def test_kuberay_makes_a_head_with_an_autoscaler_and_a_worker_for_each_engine(service: Service) -> None:
    service.apply(replicas=2)
    until(lambda: len(service.pods("engines")) == 2 and len(service.pods("headgroup")) == 1)
    (head,) = service.pods("headgroup")
    assert [container["name"] for container in head["spec"]["containers"]] == ["ray", "autoscaler"]
    assert head["spec"]["automountServiceAccountToken"] is False
    assert head["spec"]["serviceAccountName"] == head["metadata"]["labels"]["ray.io/cluster"]
    for pod in [head, *service.pods("engines")]:
        assert pod["metadata"]["labels"]["diptych.dev/deployment"] == "noto"
        ray = pod["spec"]["containers"][0]
        assert "RAY_AUTH_TOKEN" in {variable["name"] for variable in ray["env"]}
    started = service.pods("engines")[0]["spec"]["containers"][0]["args"][0]
    assert '--resources="{\\"diptych_engine\\": 1}"' in started


def test_an_adapter_keeps_the_cluster_and_another_image_brings_a_new_one(service: Service) -> None:
    service.apply()
    until(lambda: len(service.clusters) == 1)
    before = service.clusters
    service.apply("style", replicas=4, limits={"maxSteps": 5})
    assert service.clusters == before
    service.apply("style", replicas=4, pods={"image": "image:2"})
    until(lambda: bool(service.clusters - before))
