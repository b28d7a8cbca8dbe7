"""What `diptych logs` and `diptych get` say of a job on a cluster, line by line."""

from collections.abc import Iterator
from typing import Any

import pytest

from diptych_api.errors import RunFailed
from diptych_cli.cluster_get import aligned, cells, kind_named
from diptych_cli.cluster_job import ClusterJob
from diptych_cli.cluster_story import JobLines, closing
from support.recorded_run import START, recorded, report

SOON = START.isoformat()
FAILURE = {"reason": "GpuOutOfMemory", "message": "23.4 of 24 GiB used.", "hint": "batchSize: 2 fits.", "pod": "noto-w"}


def job(phase: str, **status: Any) -> ClusterJob:
    """Return a job with a status."""
    metadata = {"name": "noto", "uid": "0af1"}
    return ClusterJob.of({"metadata": metadata, "spec": {}, "status": {"phase": phase, **status}})


def condition(kind: str, message: str) -> dict[str, Any]:
    return {"type": kind, "status": "False", "reason": "Unschedulable", "message": message, "lastTransitionTime": SOON}


def test_a_waiting_job_says_what_it_waits_for_once() -> None:
    lines = JobLines("noto")
    waiting = job("Provisioning", attempt=1, conditions=[condition("Provisioned", "0/3 nodes have a free GPU.")])
    assert list(lines.after_job(waiting)) == ["noto · Provisioning · 0/3 nodes have a free GPU."]
    assert list(lines.after_job(waiting)) == []


def test_the_queue_is_told_before_the_pods() -> None:
    told = [condition("Provisioned", "No pods."), condition("Admitted", "Waits for quota.")]
    assert job("Pending", conditions=told).why == "Waits for quota."


def test_a_run_is_told_as_on_one_machine() -> None:
    lines = JobLines("noto")
    said = [line for each in recorded() for line in lines.after_report(each)]
    assert said[0] == "attempt 1"
    assert "train ✓ 300 steps" in said
    assert said[-1].startswith("✓ done · artifact 912.3 kB")


def attempts() -> Iterator[str]:
    lines = JobLines("noto")
    yield from lines.after_report(report("Training", step=90, total_steps=300))
    ended = [{"number": 1, "reason": "OOMKilled", "fromStep": 0, "toStep": 90}]
    yield from lines.after_job(job("Retrying", attempt=2, attempts=ended))
    yield from lines.after_report(report("Training", 60, attempt=2, step=60, total_steps=300))
    yield from lines.after_report(report("Training", 70, step=90, total_steps=300))


def test_a_new_attempt_begins_anew_and_a_report_of_the_old_one_is_not_told_again() -> None:
    assert list(attempts()) == [
        "attempt 1",
        "train 90/300",
        "attempt 1 ended: OOMKilled · step 0 to 90",
        "noto · Retrying · attempt 2",
        "attempt 2",
        "train 60/300",
    ]


def test_a_failure_says_why_where_and_what_to_do() -> None:
    assert list(closing("noto", job("Failed", attempt=3, lastFailure=FAILURE).status)) == [
        "failed: GpuOutOfMemory: 23.4 of 24 GiB used. (noto-w)",
        "hint:   batchSize: 2 fits.",
        "next: diptych resume noto   (one more attempt, from the last checkpoint)",
    ]


def test_a_report_of_an_earlier_job_of_the_same_name_is_not_believed() -> None:
    spec = report("Succeeded").model_dump(mode="json", by_alias=True)
    other = {"metadata": {"name": "noto", "ownerReferences": [{"uid": "beef"}]}, "spec": spec}
    own = {"metadata": {"name": "noto", "ownerReferences": [{"uid": "0af1"}]}, "spec": spec}
    assert job("Running").report(other) is None
    assert job("Running").report(own) == report("Succeeded")


def test_a_status_of_a_newer_version_is_told_as_such() -> None:
    with pytest.raises(RunFailed, match="newer than this one"):
        job("Pondering")


TABLE = {
    "columnDefinitions": [{"name": "Name"}, {"name": "Phase"}, {"name": "Base", "priority": 1}, {"name": "Age"}],
    "rows": [
        {"cells": ["noto-style", "Running", "tiny-emoji", "3m"], "object": {"metadata": {"namespace": "team"}}},
        {"cells": ["b", None, "sd", "9m"], "object": {"metadata": {"namespace": "other"}}},
    ],
}


def test_a_table_is_laid_out_as_kubectl_does() -> None:
    assert aligned(cells(TABLE, wide=False, everywhere=False)) == [
        "NAME         PHASE     AGE",
        "noto-style   Running   3m",
        "b                      9m",
    ]


def test_wide_and_everywhere_add_columns() -> None:
    assert cells(TABLE, wide=True, everywhere=True)[:2] == [
        ["NAMESPACE", "NAME", "PHASE", "BASE", "AGE"],
        ["team", "noto-style", "Running", "tiny-emoji", "3m"],
    ]


@pytest.mark.parametrize("word", ["jobs", "job", "ftj", "finetunejobs", "FineTuneJob"])
def test_a_kind_has_many_names(word: str) -> None:
    assert kind_named(word)[0] == "jobs"


def test_a_job_rests_when_nobody_has_asked_for_more() -> None:
    metadata = {"name": "noto", "uid": "0af1", "annotations": {"diptych.dev/retry": "3"}}
    failed = {"metadata": metadata, "spec": {"suspend": False}, "status": {"phase": "Failed", "attempt": 3}}
    again = {**failed, "status": {"phase": "Failed", "attempt": 4}}
    going_on = {**failed, "status": {"phase": "Suspended", "attempt": 3}}
    held = {**going_on, "spec": {"suspend": True}}
    assert [ClusterJob.of(found).rests for found in (failed, again, going_on, held)] == [False, True, False, True]
