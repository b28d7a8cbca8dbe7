"""After everything that people do: nothing is written any more, and every right that was granted was used."""

import os
import time
from typing import Any

import pytest

from cluster.audit import Record
from cluster.control_plane import ControlPlane
from cluster.fault_plan import Drop, Fault, Match
from cluster.fixtures import create_namespace
from cluster.objects import reference
from cluster.player import Player
from cluster.proxy import Proxy
from cluster.ray_pods import RayPods
from diptych_api.names import MANAGED_BY, OWNER_UID, PRODUCT, deployment_policy_name
from diptych_operator import kinds
from diptych_operator.kinds import DIFFUSION_DEPLOYMENT, DIFFUSION_MODEL, FINE_TUNE_JOB, RAY_JOB
from support.helm import HOME
from support.memory_moves import GALLERY, JOB, MODEL, gallery_spec, job_spec, model_spec
from support.operator_process import STEADY, OperatorProcess
from support.rights import GATEWAYS, HELD_TO_BE_HANDED_ON, USER, granted, used
from support.stage import Stage
from support.tale import at_rest, tell
from support.waiting import until
from support.workloads import ADAPTERS, WORKLOADS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]
QUIET_S = 60 if os.environ.get("DIPTYCH_FAULTS") == "all" else 10
CHANGED = (
    *(kinds.NETWORK_POLICY, kinds.DISRUPTION_BUDGET, kinds.INGRESS, kinds.HTTP_ROUTE, kinds.RAY_SERVICE),
    *(kinds.SERVICE_ACCOUNT, kinds.ROLE, kinds.ROLE_BINDING),
)
INGRESS = {"http": {"ingressHost": "pictures.example.org"}}
GATEWAY = {"http": {"gateway": "public"}}


@pytest.fixture(scope="module")
def operator_settings() -> dict[str, object]:
    """Look at everything so often that a look that writes would show."""
    return STEADY | {"resync_seconds": 10, "gateway_api": True}


@pytest.fixture(scope="module")
def mark(control_plane: ControlPlane) -> int:
    """Return the place in the audit log before the operator starts, for the first time as far as it can see."""
    lease = reference("coordination.k8s.io/v1", "Lease", "diptych-operator", HOME)
    if control_plane.api.is_there(lease):
        control_plane.api.delete(lease)
    return control_plane.audit.mark()


@pytest.fixture(scope="module")
def busy(
    mark: int, control_plane: ControlPlane, player: Player, operator: OperatorProcess, proxy: Proxy
) -> list[Stage]:
    """Return the namespaces in which everything happened that people do."""
    stages = {name: _stage(control_plane, player, name) for name in (*WORKLOADS, "routed", "missed")}
    for name, story in WORKLOADS.items():
        tell(story(stages[name]), operator)
    _route(stages["routed"])
    _miss(stages["missed"], proxy)
    at_rest(proxy, 3)
    return list(stages.values())


def _stage(plane: ControlPlane, player: Player, name: str) -> Stage:
    namespace = f"rest-{os.getpid()}-{name.replace('_', '-')}"
    create_namespace(plane, namespace)
    return Stage(plane.api, player, namespace)


def _route(stage: Stage) -> None:
    """Open a deployment to the world, and close it again."""
    stage.create(gallery_spec(adapters=ADAPTERS, endpoints=INGRESS))
    until(lambda: _children(stage, kinds.INGRESS) == 1)
    stage.edit(DIFFUSION_DEPLOYMENT, GALLERY, endpoints=GATEWAY)
    until(lambda: _children(stage, kinds.HTTP_ROUTE) == 1 and _children(stage, kinds.INGRESS) == 0)
    stage.edit(DIFFUSION_DEPLOYMENT, GALLERY, endpoints={"http": {"ingressHost": None, "gateway": None}})
    until(lambda: _children(stage, kinds.HTTP_ROUTE) == 0)


def _miss(stage: Stage, proxy: Proxy) -> None:
    """Swallow what all watches tell of one namespace, until the next look at everything reads it."""
    stage.create(gallery_spec(adapters=ADAPTERS, endpoints=INGRESS))
    behind = gallery_spec(adapters=ADAPTERS, endpoints=GATEWAY)
    stage.create(behind | {"metadata": behind["metadata"] | {"name": "behind"}})
    until(lambda: _children(stage, kinds.INGRESS) == _children(stage, kinds.HTTP_ROUTE) == 1)
    at_rest(proxy)
    proxy.arm(Fault(Match(verb="watch", namespace=stage.namespace), Drop(), "event", times=0))
    stage.create(model_spec())
    stage.create(job_spec())
    until(lambda: stage.find(RAY_JOB, JOB) is not None)
    stage.play(RAY_JOB, JOB, "Initializing")
    ray_job = stage.find(RAY_JOB, JOB)
    assert ray_job is not None
    RayPods(stage.api).create(ray_job)
    stage.report(JOB, phase="Preparing")
    stage.create(_publisher())
    missed = [(DIFFUSION_DEPLOYMENT, GALLERY)]
    for kind in CHANGED:
        children = stage.api.listed(kind.api_version, kind.kind, stage.namespace, labels=f"{MANAGED_BY}={PRODUCT}")
        missed += [(kind, child["metadata"]["name"]) for child in children]
    for kind, name in missed:
        target = reference(kind.api_version, kind.kind, name, stage.namespace)
        stage.api.patch(target, {"metadata": {"annotations": {"example.org/seen": "yes"}}})
    until(lambda: stage.phase(FINE_TUNE_JOB, JOB) == "Provisioning")
    until(lambda: stage.phase(DIFFUSION_MODEL, MODEL) == "Empty")
    at_rest(proxy, 12)
    proxy.calm()


def _publisher() -> dict[str, Any]:
    """Return a Job of Kubernetes that bears the mark of a child."""
    head = reference("batch/v1", "Job", "published", "")
    container = {"name": "ray", "image": "image:1"}
    pod = {"restartPolicy": "Never", "containers": [container]}
    labels = {OWNER_UID: "somebody", MANAGED_BY: PRODUCT}
    return head | {"metadata": {"name": "published", "labels": labels}, "spec": {"template": {"spec": pod}}}


def _children(stage: Stage, kind: kinds.Kind) -> int:
    return len(stage.api.listed(kind.api_version, kind.kind, stage.namespace))


def test_nothing_is_written_once_everything_is_as_it_should_be(
    busy: list[Stage], control_plane: ControlPlane, operator: OperatorProcess
) -> None:
    began, end = control_plane.audit.mark(), time.monotonic() + QUIET_S
    until(lambda: time.monotonic() > end, QUIET_S + 5)
    written = [record for record in control_plane.audit.writes(began, user=USER) if record.resource != "leases"]
    assert written == []
    assert operator.is_running


def test_every_right_that_was_granted_was_used_and_none_was_missing(
    busy: list[Stage], mark: int, control_plane: ControlPlane, operator: OperatorProcess
) -> None:
    operator.stop()
    operator.server.environment |= {"DIPTYCH_NETWORK_POLICIES": "false"}
    operator.start()
    policy = deployment_policy_name(GALLERY)
    until(lambda: all(stage.find(kinds.NETWORK_POLICY, policy) is None for stage in busy))
    records = control_plane.audit.records(mark, user=USER)
    ours = {stage.namespace for stage in busy}  # in others, that are being deleted, nothing may be made any more
    assert [_told(record) for record in records if not record.was_allowed and record.namespace in ours] == []
    rights = granted(GATEWAYS)
    unused = sorted(map(str, rights - used(records) - HELD_TO_BE_HANDED_ON))
    assert unused == [], "\n".join(unused)
    assert sorted(map(str, used(records) - rights)) == []


def _told(record: Record) -> tuple[Any, ...]:
    return (record.verb, record.resource, record.subresource, record.namespace, record.name, record.code)
