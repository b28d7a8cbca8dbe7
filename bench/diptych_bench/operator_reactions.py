"""How soon people hear what a job's pods suffer, and how soon what was broken while the operator was away is mended."""

import time
from collections.abc import Callable
from typing import Any, Final

from cluster.control_plane import ControlPlane
from cluster.objects import reference
from cluster.ray_pods import RayPods
from cluster.rayjob_states import TO_RUNNING
from diptych_api import names
from diptych_bench.operator_bars import Bar, Outcome
from diptych_bench.operator_job import Stage
from diptych_bench.operator_plane import NAMESPACE, started_plane
from diptych_bench.operator_process import OperatorProcess, started_operator
from diptych_bench.operator_requests import Request, requests_since
from diptych_operator.kinds import FINE_TUNE_JOB, NETWORK_POLICY, RAY_JOB, Kind
from support.waiting import until

TOLD_S, REPAIRED_S = 10, 15
WAITING: Final = ("Unschedulable", "ImagePullBackOff", "SecretMissing")
ENDED: Final = ("OOMKilled", "Evicted")


def reactions() -> Outcome:
    """Let pods wait and fail, then break children while the operator is away."""
    with started_plane() as plane:
        with started_operator(plane):
            told = {state: _waits(plane, state) for state in WAITING} | {state: _ends(plane, state) for state in ENDED}
        deleted = _repaired(plane, _delete_policy)
        edited = _repaired(plane, _edit_ray_job)
    bars = [Bar(f"from a pod that is {state} to its reason", seconds, TOLD_S, "s") for state, seconds in told.items()]
    return Outcome(
        [
            *bars,
            Bar("from start to a NetworkPolicy that was deleted meanwhile", deleted, REPAIRED_S, "s"),
            Bar("from start to a RayJob that was edited meanwhile", edited, REPAIRED_S, "s"),
        ]
    )


def _waits(plane: ControlPlane, state: str) -> float:
    stage = _begun(plane, state, "Initializing")
    head, *_ = _pods(plane, stage)
    return _taken(plane, stage, lambda: RayPods(plane.api).play(head, state), _is_not_starting)


def _ends(plane: ControlPlane, state: str) -> float:
    stage = _begun(plane, state, *TO_RUNNING)
    _, worker, *_ = _pods(plane, stage)

    def fail() -> None:
        RayPods(plane.api).play(worker, state)
        stage.play("Failed")

    return _taken(plane, stage, fail, lambda status: "lastFailure" in status)


def _is_not_starting(status: dict[str, Any]) -> bool:
    found = {one["type"]: one["reason"] for one in status.get("conditions", ())}
    return bool(found["Provisioned"] != "PodsStarting")


def _begun(plane: ControlPlane, name: str, *states: str) -> Stage:
    stage = Stage(plane, f"pod-{name.lower()}")
    stage.begin()
    for state in states:
        stage.play(state)
    stage.await_status(lambda status: status.get("phase") == ("Running" if states == TO_RUNNING else "Provisioning"))
    return stage


def _pods(plane: ControlPlane, stage: Stage) -> list[dict[str, Any]]:
    return RayPods(plane.api).create(plane.api.read(_child(RAY_JOB, names.ray_job_name(stage.name))))


def _child(kind: Kind, name: str) -> dict[str, Any]:
    return reference(kind.api_version, kind.kind, name, NAMESPACE)


def _taken(
    plane: ControlPlane, stage: Stage, happen: Callable[[], object], is_told: Callable[[dict[str, Any]], bool]
) -> float:
    """Return the seconds from the end of what happens to the status that tells it, by the API server's clock."""
    mark = plane.audit.mark()
    happen()
    stage.await_status(is_told)
    requests = requests_since(plane.audit.log, mark)
    told = [r for r in requests if (r.resource, r.part, r.name) == (FINE_TUNE_JOB.plural, "status", stage.name)]
    return round(told[-1].ended - _last_cause(requests).ended, 2)


def _last_cause(requests: list[Request]) -> Request:
    return [r for r in requests if r.is_write and r.resource in ("pods", RAY_JOB.plural) and r.part == "status"][-1]


def _repaired(plane: ControlPlane, break_one: Callable[[ControlPlane], Callable[[], bool]]) -> float:
    """Return the seconds from the start of the operator's process until what was broken is as it was."""
    is_whole = break_one(plane)
    operator, began = OperatorProcess(plane), time.monotonic()
    try:
        operator.start()
        until(is_whole)
        return round(time.monotonic() - began, 2)
    finally:
        operator.stop()
        operator.web.close()


def _delete_policy(plane: ControlPlane) -> Callable[[], bool]:
    child = _child(NETWORK_POLICY, names.job_policy_name("pod-unschedulable"))
    plane.api.delete(child)
    return lambda: plane.api.is_there(child)


def _edit_ray_job(plane: ControlPlane) -> Callable[[], bool]:
    child = _child(RAY_JOB, names.ray_job_name("pod-unschedulable"))
    before = plane.api.read(child)["spec"]["entrypoint"]
    plane.api.patch(child, {"spec": {"entrypoint": "somebody's"}})
    return lambda: bool(plane.api.read(child)["spec"]["entrypoint"] == before)
