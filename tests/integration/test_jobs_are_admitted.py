"""Whatever a job says: the API server takes its children as they are, and its pods under Pod Security `restricted`."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from cluster.control_plane import ControlPlane
from cluster.objects import Values
from diptych_api.errors import SpecInvalid
from diptych_api.finetunejob import FineTuneJob
from diptych_operator.defaults import Defaults
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.accounts import accounts
from diptych_operator.manifests.job_policy import job_policy
from diptych_operator.manifests.rayjob import ray_job
from diptych_operator.sealing import drifted, sealed
from support.job_specs import jobs

pytestmark = pytest.mark.integration
JOBS = 250
DEFAULTS = Defaults(image="image:1")
bounded = settings(
    max_examples=JOBS,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_children_of_random_jobs_are_taken_and_kept_as_they_are(control_plane: ControlPlane, namespace: str) -> None:
    prepare(control_plane, namespace)
    taken = []

    @bounded
    @given(job=jobs())
    def run(job: FineTuneJob) -> None:
        metadata = job.metadata.model_copy(update={"namespace": namespace})
        try:
            manifest = ray_job(job.model_copy(update={"metadata": metadata}), 1, DEFAULTS, 3600)
        except SpecInvalid:
            return
        policy = job_policy(job.model_copy(update={"metadata": metadata}), DEFAULTS)
        for child in (manifest, policy):
            kept = control_plane.api.apply(sealed(child), dry_run=True)
            assert not drifted(kept)
        for pod in pods(manifest, namespace):
            control_plane.api.create(pod, dry_run=True)
        taken.append(manifest)

    run()
    assert len(taken) > JOBS // 2


def test_the_accounts_of_a_namespace_are_kept_as_they_are(control_plane: ControlPlane, namespace: str) -> None:
    for account in accounts(namespace):
        assert not drifted(control_plane.api.apply(sealed(account)))


def prepare(control_plane: ControlPlane, namespace: str) -> None:
    """Make what admission asks for: the accounts, and a priority class of the name that random jobs have."""
    for account in accounts(namespace):
        control_plane.api.apply(account)
    own = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "own-account", "namespace": namespace}}
    control_plane.api.apply(own)
    high = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1000}
    control_plane.api.apply(high)


def pods(manifest: Manifest, namespace: str) -> Iterator[Values]:
    """Yield the pods that KubeRay makes of a RayJob, with the container that it adds to workers."""
    cluster = manifest["spec"]["rayClusterSpec"]
    for number, group in enumerate([cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]):
        template = group["template"]
        ray = template["spec"]["containers"][0]
        waits = {"name": "wait-gcs-ready", "image": ray["image"], "securityContext": ray["securityContext"]}
        metadata = template["metadata"] | {"name": f"pod-{number}", "namespace": namespace}
        spec = template["spec"] | {"initContainers": [waits] if number else []}
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
