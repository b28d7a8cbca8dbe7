"""What KubeRay said on a real node is what the player's tables say: every status, and which one follows which.

tests/cluster/recorded has the lives of RayJobs and RayServices, as ``DIPTYCH_E2E_RECORD=FOLDER make e2e`` and
``python -m e2e.recording FOLDER`` leave them.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cluster.objects import Values
from cluster.player import STATES, next_status

RECORDED = Path(__file__).parents[1] / "cluster" / "recorded"
LIVES = sorted(RECORDED.glob("*.json"))
UNLIKE = frozenset(
    [
        # of the machine and the job
        *("desiredCPU", "desiredGPU", "desiredMemory", "endpoints", "head", "stateTransitionTimes"),
        *("minWorkerReplicas", "maxWorkerReplicas", "lastUpdateTime", "lastTransitionTime", "message"),
        # of the moment: workers and deployments of an application get ready one by one
        *("availableWorkerReplicas", "readyWorkerReplicas", "serveDeploymentStatuses", "numServeEndpoints"),
    ]
)
DRAWN = ("jobId", "rayClusterName", "dashboardURL", "startTime", "endTime")
ORDER = ("DEPLOY_FAILED", "UNHEALTHY", "DELETING", "NOT_STARTED", "DEPLOYING", "RUNNING")
MISSED = 2
"""Statuses that may have been overwritten before anybody saw them."""


@pytest.mark.parametrize("life", LIVES, ids=lambda path: path.stem)
def test_each_status_is_one_that_the_tables_let_follow(life: Path) -> None:
    told = json.loads(life.read_text(encoding="utf-8"))
    before: Values = {}
    for seen in told["seen"]:
        found = {"kind": told["kind"], "metadata": {"name": told["name"], **seen["metadata"]}, "spec": seen["spec"]}
        wanted = essence(seen["status"])
        assert follows(wanted, found, [before]), f"{wanted} follows {essence(before)} in no table"
        before = seen["status"]


def test_the_lives_are_whole() -> None:
    told = [json.loads(path.read_text(encoding="utf-8"))["seen"][-1]["status"] for path in LIVES]
    ends = {status.get("jobDeploymentStatus") for status in told}
    assert {"Complete", "Failed"} <= ends


def follows(wanted: Values, found: Values, before: list[Values]) -> bool:
    """Return whether the tables lead from one of some statuses to the wanted one, by way of few that nobody saw."""
    for _ in range(MISSED + 1):
        if any(essence(status) == wanted for status in before):
            return True
        before = [status for each in before for status in after(found | {"status": each})]
    return any(essence(status) == wanted for status in before)


def after(found: Values) -> Iterator[Values]:
    """Yield the statuses that may follow the one of an object."""
    for state in STATES[found["kind"]]:
        with suppress(ValueError):  # does not follow
            yield next_status(found, state)


def essence(value: Any) -> Any:
    """Return a part of a status without what differs from one life to the next."""
    if isinstance(value, dict):
        if "applicationStatuses" in value:
            value = value | {"applicationStatuses": _least(value["applicationStatuses"])}
        parts = {name: essence(part) for name, part in value.items() if name not in UNLIKE}
        told = {name: part for name, part in parts.items() if part not in (None, {}, [])}
        return {name: True if name in DRAWN else part for name, part in told.items()}
    if isinstance(value, list):
        return sorted((essence(part) for part in value), key=lambda part: str(part["type"]))
    return value


def _least(applications: Values) -> str:
    """Return the status of the application that is not ready yet, if there is one: they get ready one by one."""
    return min((str(each["status"]) for each in applications.values()), key=ORDER.index, default="")
