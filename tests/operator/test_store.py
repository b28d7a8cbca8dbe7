"""The store: newest versions only, and whoever must be woken is."""

from typing import Any

import pytest

from diptych_operator import kinds
from diptych_operator.kinds import Kind, Ref
from diptych_operator.links import RAY_CLUSTER
from diptych_operator.sealing import sealed
from diptych_operator.store import Store

JOB = Ref(kinds.FINE_TUNE_JOB, "art", "noto")
DEPLOYMENT = Ref(kinds.DIFFUSION_DEPLOYMENT, "art", "gallery")
MODEL = Ref(kinds.DIFFUSION_MODEL, "art", "best")


class World:
    """A store, and who was woken since the last look."""

    def __init__(self) -> None:
        self.woken: set[Ref] = set()
        self.store = Store(self.woken.add)
        self.version = 0

    def put(self, kind: Kind, name: str, version: int | None = None, **parts: Any) -> set[Ref]:
        """Tell of an object and return who was woken."""
        self.version = version or self.version + 1
        metadata = {"name": name, "namespace": "art", "uid": f"uid-{name}", "resourceVersion": str(self.version)}
        metadata |= parts.pop("metadata", {})
        self.woken.clear()
        self.store.put({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **parts})
        return set(self.woken)


@pytest.fixture
def world() -> World:
    return World()


def of_job(name: str = "noto") -> dict[str, Any]:
    return {"labels": {"diptych.dev/job": name}}


def spec_of(world: World, ref: Ref) -> Any:
    found = world.store.get(ref)
    return None if found is None else found["spec"]


def test_a_job_wakes_itself_and_the_model_that_it_wants_to_become(world: World) -> None:
    assert world.put(kinds.FINE_TUNE_JOB, "noto", spec={}) == {JOB}
    assert world.put(kinds.FINE_TUNE_JOB, "noto", spec={"promotion": {"model": "best"}}) == {JOB, MODEL}
    assert world.store.users_of(MODEL) == [JOB]


def test_what_a_job_tells_people_while_it_trains_wakes_nobody(world: World) -> None:
    spec, status = {"promotion": {"model": "best"}}, {"phase": "Running", "progress": {"step": 10}}
    world.put(kinds.FINE_TUNE_JOB, "noto", spec=spec, status=status)
    told = {"progress": {"step": 20}, "columns": {"eta": "41s"}, "checkpoint": {"step": 20}, "gpuSeconds": 9.5}
    assert world.put(kinds.FINE_TUNE_JOB, "noto", spec=spec, status=status | told) == set()
    found = world.store.get(JOB)
    assert found is not None
    assert found["status"] == status | told


@pytest.mark.parametrize(
    "change",
    [
        {"status": {"phase": "Succeeded", "progress": {"step": 20}}},
        {"status": {"phase": "Running", "progress": {"step": 20}, "attempt": 2}},
        {"spec": {"suspend": True}},
        {"metadata": {"annotations": {"diptych.dev/cancel": "true"}}},
        {"metadata": {"deletionTimestamp": "2026-01-31T12:00:00Z"}},
        {"metadata": {"uid": "another"}},
        {"status": None},
    ],
)
def test_everything_else_that_changes_of_a_job_wakes_it(world: World, change: dict[str, Any]) -> None:
    parts: dict[str, Any] = {"spec": {}, "status": {"phase": "Running", "progress": {"step": 10}}}
    world.put(kinds.FINE_TUNE_JOB, "noto", **parts)
    assert world.put(kinds.FINE_TUNE_JOB, "noto", **parts | change) == {JOB}


def test_a_deployment_is_woken_by_its_jobs_and_models_and_no_longer_when_it_names_others(world: World) -> None:
    adapters = [{"name": "a", "fromJob": {"name": "noto"}}, {"name": "b", "fromModel": {"name": "best"}}]
    world.put(kinds.DIFFUSION_DEPLOYMENT, "gallery", spec={"adapters": adapters})
    assert world.put(kinds.FINE_TUNE_JOB, "noto", spec={}) == {JOB, DEPLOYMENT}
    assert world.put(kinds.DIFFUSION_MODEL, "best", spec={}) == {MODEL, DEPLOYMENT}
    world.put(kinds.DIFFUSION_DEPLOYMENT, "gallery", spec={"adapters": adapters[1:]})
    assert world.put(kinds.FINE_TUNE_JOB, "noto", spec={"suspend": True}) == {JOB}


def test_users_of_different_kinds_have_an_order(world: World) -> None:
    world.put(kinds.FINE_TUNE_JOB, "noto", spec={"promotion": {"model": "best"}})
    adapters = [{"name": "b", "fromModel": {"name": "best"}}]
    world.put(kinds.DIFFUSION_DEPLOYMENT, "gallery", spec={"adapters": adapters})
    assert world.store.users_of(MODEL) == [DEPLOYMENT, JOB]


def test_a_model_wakes_the_jobs_that_it_tells_of_and_not_all_that_want_to_become_it(world: World) -> None:
    for name in ("noto", "other"):
        world.put(kinds.FINE_TUNE_JOB, name, spec={"promotion": {"model": "best"}})
    assert world.put(kinds.DIFFUSION_MODEL, "best", spec={}) == {MODEL}
    status = {"current": None, "considered": [{"run": "noto-0123abcd", "job": "noto"}]}
    assert world.put(kinds.DIFFUSION_MODEL, "best", spec={}, status=status) == {MODEL, JOB}


@pytest.mark.parametrize("kind", [kinds.RAY_JOB, kinds.NETWORK_POLICY, kinds.POD])
def test_children_and_pods_wake_their_job(world: World, kind: Kind) -> None:
    assert world.put(kind, "child", metadata=of_job()) == {JOB}
    world.woken.clear()
    world.store.remove(Ref(kind, "art", "child"), "uid-child")
    assert world.woken == {JOB}


def test_a_report_wakes_the_job_of_its_name(world: World) -> None:
    assert world.put(kinds.FINE_TUNE_REPORT, "noto", spec={"phase": "Training"}) == {JOB}


def test_an_older_version_does_not_replace_a_newer_one(world: World) -> None:
    world.put(kinds.FINE_TUNE_JOB, "noto", version=7, spec={"new": True})
    assert world.put(kinds.FINE_TUNE_JOB, "noto", version=6, spec={"new": False}) == set()
    assert spec_of(world, JOB) == {"new": True}


def test_a_late_event_does_not_bring_a_deleted_object_back(world: World) -> None:
    world.put(kinds.FINE_TUNE_JOB, "noto", spec={})
    world.store.remove(JOB, "uid-noto", version=3)
    world.put(kinds.FINE_TUNE_JOB, "noto", version=2, spec={})
    assert spec_of(world, JOB) is None


def test_a_child_whose_label_was_taken_away_comes_back_with_its_label(world: World) -> None:
    world.put(kinds.RAY_JOB, "noto", metadata=of_job())
    world.store.remove(Ref(kinds.RAY_JOB, "art", "noto"), "uid-noto", version=2)
    assert world.put(kinds.RAY_JOB, "noto", version=3, metadata=of_job()) == {JOB}


def test_a_child_that_is_labelled_for_another_wakes_the_job_that_it_had(world: World) -> None:
    world.put(kinds.RAY_JOB, "noto", metadata=of_job())
    assert JOB in world.put(kinds.RAY_JOB, "noto", metadata=of_job("stolen"))


def test_the_deletion_of_an_earlier_object_of_the_same_name_is_not_that_of_the_new_one(world: World) -> None:
    world.put(kinds.FINE_TUNE_JOB, "noto", metadata={"uid": "new"}, spec={})
    world.store.remove(JOB, "old")
    assert spec_of(world, JOB) == {}


def test_pods_are_found_by_their_owner(world: World) -> None:
    world.put(kinds.POD, "b", metadata=of_job())
    world.put(kinds.POD, "a", metadata=of_job())
    world.put(kinds.POD, "c", metadata=of_job("other"))
    assert [pod["metadata"]["name"] for pod in world.store.pods_of(JOB)] == ["a", "b"]
    world.store.remove(Ref(kinds.POD, "art", "a"), "uid-a")
    assert [pod["metadata"]["name"] for pod in world.store.pods_of(JOB)] == ["b"]


def warning(world: World, kind: str, name: str) -> set[Ref]:
    about = {"kind": kind, "name": name, "namespace": "art"}
    parts: dict[str, Any] = {"type": "Warning", "reason": "FailedMount", "message": "no volume"}
    parts["involvedObject"] = about
    return world.put(kinds.EVENT, "e", **parts)


def test_a_warning_about_a_pod_is_kept_and_wakes_its_owner(world: World) -> None:
    world.put(kinds.POD, "head", metadata=of_job())
    assert warning(world, "Pod", "head") == {JOB}
    [trouble] = world.store.troubles_of("art", "head")
    assert (trouble.reason, trouble.message) == ("FailedMount", "no volume")


def test_a_warning_about_a_ray_cluster_wakes_the_job_whose_it_is(world: World) -> None:
    world.put(kinds.RAY_JOB, "noto", metadata=of_job(), status={"rayClusterName": "noto-x7f2k"})
    assert warning(world, "RayCluster", "noto-x7f2k") == {JOB}
    assert world.store.users_of(Ref(RAY_CLUSTER, "art", "noto-x7f2k"))


def test_a_warning_about_a_rayjob_whose_cluster_cannot_be_made_wakes_its_job(world: World) -> None:
    world.put(kinds.RAY_JOB, "noto", metadata=of_job())
    assert warning(world, "RayJob", "noto") == {JOB}


def test_an_account_that_goes_wakes_every_job_of_its_namespace(world: World) -> None:
    world.put(kinds.FINE_TUNE_JOB, "noto", spec={})
    world.put(kinds.FINE_TUNE_JOB, "far", metadata={"namespace": "elsewhere"}, spec={})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "pod", "namespace": "art"}}
    stored = sealed(account)
    assert world.put(kinds.SERVICE_ACCOUNT, "pod", metadata=stored["metadata"]) == set()
    world.woken.clear()
    world.store.remove(Ref(kinds.SERVICE_ACCOUNT, "art", "pod"), "uid-pod")
    assert world.woken == {JOB}


def test_of_a_child_it_is_kept_whether_it_drifted_and_not_its_spec(world: World) -> None:
    wanted = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": "noto", **of_job()}, "spec": {"a": 1}}
    for value, expected in ((1, False), (2, True)):
        world.put(kinds.RAY_JOB, "noto", metadata=sealed(wanted)["metadata"], spec={"a": value})
        found = world.store.get(Ref(kinds.RAY_JOB, "art", "noto"))
        assert found is not None
        assert found["drifted"] is expected
        assert "spec" not in found


def test_what_is_being_deleted_by_us_counts_as_such_until_the_watch_tells_more(world: World) -> None:
    world.put(kinds.RAY_JOB, "noto", metadata=of_job())
    ref = Ref(kinds.RAY_JOB, "art", "noto")
    world.store.deleting(ref, "another")
    assert "deletionTimestamp" not in (world.store.get(ref) or {})["metadata"]
    world.store.deleting(ref, "uid-noto")
    assert "deletionTimestamp" in (world.store.get(ref) or {})["metadata"]
