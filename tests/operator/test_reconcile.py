"""The executor: actions, notes, one status write; and what the API server says is taken as an answer."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from diptych_api.jobstatus import FineTuneJobStatus
from diptych_operator import kinds
from diptych_operator.cluster import Conflict, Refused, Unreachable
from diptych_operator.defaults import Defaults
from diptych_operator.kinds import Manifest, Ref
from diptych_operator.memory import Change, Memory
from diptych_operator.metrics import Metrics
from diptych_operator.observe import Seen
from diptych_operator.observed import JobSeen
from diptych_operator.plan import Apply, Note, Plan
from diptych_operator.reconcile import NotLeading, Reconciler
from diptych_operator.store import Store

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
JOB = Ref(kinds.FINE_TUNE_JOB, "art", "noto")
CHILD: Manifest = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "noto-finetune", "namespace": "art", "labels": {"diptych.dev/job": "noto"}},
    "spec": {"podSelector": {}},
}
SPEC = {"base": {"builtin": "tiny-emoji"}, "dataset": {"source": {"uri": "s3://bucket/pictures"}}}


def one_child(seen: Seen, _: Defaults, __: datetime) -> Plan:
    """Plan a policy, tell of it, and say so in the status."""
    assert isinstance(seen, JobSeen)
    if seen.refused and seen.job.status.ray_job_name != seen.refused:
        return Plan(FineTuneJobStatus(ray_job_name=seen.refused), requeue_s=30)
    actions = () if seen.policy else (Apply(CHILD),)
    status = FineTuneJobStatus(phase="Provisioning", attempt=seen.job.status.attempt + len(actions))
    return Plan(status, actions, (Note("Provisioning", "Pods are being made."),), requeue_s=30)


class Story:
    """A cluster in memory whose watch fills the store at once."""

    def __init__(self, planner: Callable[[Seen, Defaults, datetime], Plan | None] = one_child) -> None:
        self.woken: list[Ref] = []
        self.store = Store(self.woken.append)
        self.cluster = Memory(self.hear, clock=lambda: "2026-01-31T12:00:00Z")
        self.leading = True
        self.metrics = Metrics()
        self.reconciler = Reconciler(
            cluster=self.cluster,
            store=self.store,
            planner=planner,
            defaults=Defaults(image="image"),
            clock=lambda: NOW,
            may_write=lambda: self.leading,
            metrics=self.metrics,
        )
        self.user_puts(SPEC)

    def hear(self, change: Change) -> None:
        verb, found = change
        if verb == "DELETED":
            self.store.remove(kinds.ref_of(found), found["metadata"]["uid"])
        else:
            self.store.put(found)

    def user_puts(self, spec: dict[str, Any], **metadata: Any) -> None:
        head = {"name": "noto", "namespace": "art", "uid": "u", "generation": 1, **metadata}
        self.cluster.put({"apiVersion": "diptych.dev/v1alpha1", "kind": "FineTuneJob", "metadata": head, "spec": spec})
        self.cluster.writes.clear()

    def reconcile(self) -> float | None:
        return asyncio.run(self.reconciler.reconcile(JOB))

    def figure(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def story() -> Story:
    return Story()


def test_children_come_before_the_event_and_the_event_before_the_status(story: Story) -> None:
    assert story.reconcile() == 30
    policy = "apply NetworkPolicy art/noto-finetune"
    assert story.cluster.writes == [policy, "event Provisioning", "status FineTuneJob art/noto"]


def test_every_line_of_the_log_says_whose_it_is_by_uid_and_generation(story: Story) -> None:
    with capture_logs(processors=[merge_contextvars]) as lines:
        story.reconcile()
        story.user_puts(SPEC | {"suspend": True}, generation=2)
        story.leading = False
        with pytest.raises(NotLeading):
            story.reconcile()
    whose = {"kind": "FineTuneJob", "namespace": "art", "name": "noto", "uid": "u"}
    assert lines == [{"event": "told", "log_level": "info", "reason": "Provisioning", "generation": 1, **whose}]


def test_a_second_look_writes_nothing(story: Story) -> None:
    story.reconcile()
    story.cluster.writes.clear()
    story.reconcile()
    assert story.cluster.writes == []


def test_empty_parts_that_the_api_server_adds_are_no_reason_to_write(story: Story) -> None:
    story.reconcile()
    found = story.cluster.objects[JOB]
    defaults: dict[str, Any] = {"columns": {}, "samples": [], "attempts": []}
    story.cluster.put({**found, "status": defaults | found["status"]})
    story.cluster.writes.clear()
    story.reconcile()
    assert story.cluster.writes == []


def test_a_resource_on_its_way_out_is_left_alone(story: Story) -> None:
    story.user_puts(SPEC, deletionTimestamp="2026-01-31T12:00:00Z")
    assert story.reconcile() is None
    assert story.cluster.writes == []


def test_what_somebody_else_manages_is_left_alone() -> None:
    story = Story(lambda *_: None)
    assert story.reconcile() is None
    assert story.cluster.writes == []


def test_nothing_is_written_without_the_lease(story: Story) -> None:
    story.leading = False
    with pytest.raises(NotLeading):
        story.reconcile()
    assert story.cluster.writes == []


def test_a_status_written_on_an_old_version_is_refused_and_the_newest_is_read(story: Story) -> None:
    story.cluster._on_change = lambda _: None  # the watch is behind
    story.user_puts({**SPEC, "suspend": True})
    assert story.reconcile() == 0
    story.cluster._on_change = story.hear
    assert story.reconcile() == 30
    assert (story.cluster.objects[JOB])["status"]["phase"] == "Provisioning"
    assert story.figure("diptych_reconcile_seconds_count", kind="FineTuneJob", outcome="conflict") == 1


class Orphans(Memory):
    """Has objects whose namespace is gone: they can be read, and a write finds nothing."""

    async def write_status(self, ref: Ref, version: str, changes: dict[str, Any]) -> Manifest:
        raise Conflict(f"{ref} is gone.")


def test_a_conflict_though_nothing_changed_is_tried_again_later_and_later(story: Story) -> None:
    story.cluster.__class__ = Orphans
    assert [story.reconcile() for _ in range(4)] == [0.5, 1, 2, 4]


class Failing(Memory):
    """Fails every apply."""

    error: Exception = Unreachable("down")

    async def apply(self, manifest: Manifest) -> Manifest:
        raise self.error


def failing(error: Exception) -> Story:
    story = Story()
    story.cluster.__class__ = Failing
    story.cluster.error = error  # type: ignore[attr-defined]
    return story


def test_an_api_server_that_does_not_answer_is_asked_again_later_and_later() -> None:
    story = failing(Unreachable("down"))
    assert [story.reconcile() for _ in range(4)] == [0.5, 1, 2, 4]
    assert [story.reconcile() for _ in range(8)][-1] == 60


def test_a_refusal_is_told_in_the_status_and_tried_again_without_haste() -> None:
    story = failing(Refused("quota exceeded"))
    assert [story.reconcile() for _ in range(4)] == [0, 30, 30, 30]
    assert story.cluster.objects[JOB]["status"]["rayJobName"] == "quota exceeded"
    assert story.cluster.objects[JOB]["status"]["attempt"] == 0
    assert story.cluster.writes == ["status FineTuneJob art/noto"]


def test_a_refusal_in_other_words_each_time_is_no_reason_for_haste() -> None:
    story = failing(Refused("request 0 denied"))
    waits = []
    for number in range(6):
        story.cluster.error = Refused(f"request {number} denied")  # type: ignore[attr-defined]
        waits.append(story.reconcile())
    assert waits == [0, 30, 30, 30, 30, 30]


def test_a_child_that_is_taken_after_a_refusal_is_told_as_well() -> None:
    story = failing(Refused("quota exceeded"))
    story.reconcile()
    story.reconcile()
    story.cluster.__class__ = Memory
    assert story.reconcile() == 30
    assert story.cluster.objects[JOB]["status"]["phase"] == "Provisioning"
    assert story.cluster.objects[JOB]["status"]["attempt"] == 1


def test_a_bug_in_a_plan_stops_nothing_else_and_is_counted() -> None:
    def broken(*_: object) -> Plan:
        raise ZeroDivisionError

    story = Story(broken)
    assert story.reconcile() == 0.5
    assert story.figure("diptych_reconcile_errors_total", kind="FineTuneJob", reason="bug") == 1


def test_a_resource_of_another_version_is_told_what_cannot_be_read(story: Story) -> None:
    story.user_puts({**SPEC, "training": {"steps": "many"}})
    story.reconcile()
    [condition] = story.cluster.objects[JOB]["status"]["conditions"]
    assert condition["reason"] == "SpecInvalid"
    assert "spec.training.steps" in condition["message"]
    story.cluster.writes.clear()
    story.reconcile()
    assert story.cluster.writes == []


def test_phases_are_counted_and_forgotten(story: Story) -> None:
    story.reconcile()
    assert story.figure("diptych_objects", kind="FineTuneJob", phase="Provisioning") == 1
    story.cluster.remove(JOB)
    story.reconcile()
    assert story.figure("diptych_objects", kind="FineTuneJob", phase="Provisioning") == 0


def test_a_conflict_over_an_object_that_vanished_ends_well(story: Story) -> None:
    story.cluster._on_change = lambda _: None
    story.cluster.remove(JOB)
    story.reconcile()
    assert story.reconcile() is None
    assert Conflict("x").reason == "Conflict"
