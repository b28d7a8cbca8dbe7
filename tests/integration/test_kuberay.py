"""The real KubeRay against the player's tables: both tell the same of the same life, as far as no node is needed."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from cluster.control_plane import ControlPlane
from cluster.manifests import ray_job, ray_service
from cluster.objects import Values, reference
from cluster.player import Player
from cluster.ray_pods import RayPods
from support.waiting import until

pytestmark = pytest.mark.integration
UNLIKE = {"lastUpdateTime", "endpoints", "podIP", "podName", "serviceIP"}
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(Z| \+0000 UTC)?")


@pytest.fixture
def lives(control_plane: ControlPlane, kuberay_namespace: str, namespace: str, player: Player) -> "Lives":
    return Lives(control_plane, kuberay_namespace, namespace, player)


class Lives:
    """The same object twice: one in KubeRay's hands, one in the player's."""

    def __init__(self, plane: ControlPlane, real: str, played: str, player: Player) -> None:
        self.plane = plane
        self.real = real
        self.played = played
        self.player = player
        self.kind = ""

    def begin(self, make: Callable[..., Values], **spec: Any) -> None:
        for space in (self.real, self.played):
            self.kind = self.plane.api.create(make(space, **spec))["kind"]

    def seen(self, space: str) -> Values:
        return self.plane.api.read(reference("ray.io/v1", self.kind, "noto", space))

    def pods(self) -> list[Values]:
        return self.plane.api.listed("v1", "Pod", self.real, labels="ray.io/is-ray-node=yes")

    def play(self, *states: str) -> Values:
        told: Values = alike(self.player.play_all(self.kind, self.played, "noto", states)["status"], self.played)
        return told

    def meet(self, *states: str) -> None:
        """Play the states, then wait until KubeRay tells the same as the last of them."""
        played = self.play(*states)

        def told() -> Values:
            status: Values = alike(self.seen(self.real).get("status", {}), self.real)
            return status

        try:
            until(lambda: told() == played)
        except AssertionError:
            assert told() == played  # shows what differs


def alike(value: Any, namespace: str) -> Any:
    """Return a status without what differs from one life to the next: times, drawn letters, addresses."""
    if isinstance(value, dict):
        return {name: alike(part, namespace) for name, part in value.items() if name not in UNLIKE}
    if isinstance(value, list):
        return sorted((alike(part, namespace) for part in value), key=lambda part: str(part["type"]))
    if isinstance(value, str):
        text = TIME.sub("TIME", value).replace(namespace, "NAMESPACE")
        return re.sub(r"\bnoto-[a-z0-9]{5}\b", "noto-LETTERS", text)
    return value


def test_a_ray_job_on_its_way_to_the_submission(lives: Lives, ray_pods: RayPods) -> None:
    lives.begin(ray_job)
    lives.meet("Initializing", "HeadUnschedulable")
    head, worker = sorted(lives.pods(), key=lambda pod: str(pod["metadata"]["labels"]["ray.io/node-type"]))
    ray_pods.play(head, "ImagePullBackOff")
    lives.meet("HeadImageMissing")
    ray_pods.play(head, "Running")
    lives.meet("WorkersStarting")
    ray_pods.play(worker, "Running")
    lives.meet("Submitting")


def test_a_ray_job_that_is_suspended_and_goes_on(lives: Lives) -> None:
    lives.begin(ray_job)
    lives.meet("Initializing", "HeadUnschedulable")
    lives.plane.api.patch(lives.seen(lives.real), {"spec": {"suspend": True}})
    lives.meet("Suspending", "Suspended")
    lives.plane.api.patch(lives.seen(lives.real), {"spec": {"suspend": False}})
    lives.meet("New", "Initializing", "HeadUnschedulable")


def test_a_ray_job_past_its_deadline(lives: Lives) -> None:
    lives.begin(ray_job, activeDeadlineSeconds=60)
    lives.meet("Initializing", "HeadUnschedulable")
    past = {"startTime": "2026-01-31T12:00:00Z"}
    lives.plane.api.patch(lives.seen(lives.real), {"status": past}, subresource="status")
    lives.meet("DeadlineExceeded")


def test_a_ray_job_that_never_gets_its_pods_and_is_tried_again(lives: Lives) -> None:
    lives.begin(ray_job, preRunningDeadlineSeconds=60, backoffLimit=1)
    lives.meet("Initializing", "HeadUnschedulable")
    past = {"startTime": "2026-01-31T12:00:00Z"}
    lives.plane.api.patch(lives.seen(lives.real), {"status": past}, subresource="status")
    lives.meet("PreRunningDeadlineRetrying", "New", "Initializing", "HeadUnschedulable")


def test_a_ray_job_that_is_not_valid(lives: Lives) -> None:
    lives.begin(ray_job, backoffLimit=-1)
    lives.meet("ValidationFailed")


def test_a_ray_service_that_begins(lives: Lives) -> None:
    lives.begin(ray_service)
    lives.meet("Initializing")


def test_kuberay_makes_pods_with_the_labels_that_ours_have(
    lives: Lives, control_plane: ControlPlane, ray_pods: RayPods
) -> None:
    lives.begin(ray_job)
    lives.meet("Initializing", "HeadUnschedulable")
    ray_pods.create(lives.seen(lives.played))
    played = control_plane.api.listed("v1", "Pod", lives.played)
    real = [alike(pod["metadata"]["labels"], lives.real) for pod in lives.pods()]
    assert sorted(real, key=str) == sorted((alike(pod["metadata"]["labels"], lives.played) for pod in played), key=str)


@pytest.mark.parametrize("make", [ray_job, ray_service])
def test_kuberay_leaves_a_spec_alone_that_says_what_it_would_add(
    control_plane: ControlPlane, kuberay_namespace: str, make: Callable[..., Values]
) -> None:
    applied = control_plane.api.apply(make(kuberay_namespace), manager="somebody")
    until(lambda: "finalizers" in control_plane.api.read(applied)["metadata"])
    assert control_plane.api.read(applied)["metadata"]["generation"] == 1
    assert control_plane.api.read(applied)["spec"] == applied["spec"]
