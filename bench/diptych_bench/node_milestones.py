"""What happens on the way to a trained job and to a deployment that serves, in the words of Kubernetes' objects."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

from cluster.objects import Values, conditions

Whose = Literal["Diptych", "KubeRay", "Kubernetes", "Ray", "the program", "the user"]
ENDED: Final = ("Complete", "Failed")
GROUP: Final = "ray.io/node-type"


@dataclass(frozen=True, slots=True)
class Sight:
    """An object as it was told, and when, in seconds of some clock."""

    at: float
    thing: Values


@dataclass(frozen=True, slots=True)
class Milestone:
    """What holds for an object of a kind from some moment on, and who brings it about."""

    name: str
    whose: Whose
    kind: str
    holds: Callable[[Values], bool] = lambda _: True


@dataclass(frozen=True, slots=True)
class Reached:
    """When a milestone was reached: seconds since the beginning, and since the milestone before."""

    name: str
    whose: str
    at_s: float
    took_s: float


def pod(group: str, holds: Callable[[Values], bool]) -> Callable[[Values], bool]:
    """Return what tells whether something holds for a pod of Ray's head or workers."""
    return lambda thing: thing["metadata"].get("labels", {}).get(GROUP) == group and holds(thing)


def is_running(thing: Values) -> bool:
    """Return whether a pod's own containers run."""
    found = thing.get("status", {}).get("containerStatuses") or []
    return bool(found) and all("running" in each["state"] for each in found)


def is_ready(thing: Values) -> bool:
    """Return whether an object says that it is ready."""
    return conditions(thing).get("Ready") == "True"


def says(field: str, *values: str) -> Callable[[Values], bool]:
    """Return what tells whether a field of an object's status has one of some values."""
    return lambda thing: thing.get("status", {}).get(field) in values


def reports(*phases: str, step: int = 0) -> Callable[[Values], bool]:
    """Return what tells whether a report is of one of some phases, and at least of a step."""
    return lambda thing: thing["spec"].get("phase") in phases and (thing["spec"].get("step") or 0) >= step


def is_serving(thing: Values) -> bool:
    """Return whether all applications of a RayService run, in Ray Serve's words."""
    status = thing.get("status", {})
    parts = (status.get("activeServiceStatus"), status.get("pendingServiceStatus"))
    states = [app["status"] for part in parts for app in ((part or {}).get("applicationStatuses") or {}).values()]
    return bool(states) and all(state == "RUNNING" for state in states)


def told(kind: str, name: str, field: str, *values: str) -> Callable[[Sight], bool]:
    """Return what tells whether a sight is of this object, and a field of its status has one of some values."""
    holds = says(field, *values)
    return lambda sight: sight.thing["kind"] == kind and sight.thing["metadata"]["name"] == name and holds(sight.thing)


PODS: Final = (
    Milestone("RayCluster", "KubeRay", "RayCluster"),
    Milestone("head's pod", "KubeRay", "Pod", pod("head", lambda _: True)),
    Milestone("head's container runs", "Kubernetes", "Pod", pod("head", is_running)),
    Milestone("head ready", "Ray", "Pod", pod("head", is_ready)),
    Milestone("worker ready", "Ray", "Pod", pod("worker", is_ready)),
)
RAY_JOB: Final = (
    *PODS,
    Milestone("program submitted", "KubeRay", "RayJob", says("jobStatus", "RUNNING", "SUCCEEDED")),
    Milestone("RayJob has ended", "KubeRay", "RayJob", says("jobDeploymentStatus", *ENDED)),
)
JOB: Final = (
    Milestone("RayJob", "Diptych", "RayJob"),
    *RAY_JOB,
    Milestone("first report", "the program", "FineTuneReport"),
    Milestone("first training step", "the program", "FineTuneReport", reports("Training", step=1)),
    Milestone("trained", "the program", "FineTuneReport", reports("Evaluating", "Gating", "Exporting", "Publishing")),
    Milestone("artifact is complete", "the program", "FineTuneReport", reports("Succeeded")),
    Milestone("FineTuneJob says so", "Diptych", "FineTuneJob", says("phase", "Succeeded", "Failed")),
)
DEPLOYMENT: Final = (
    Milestone("RayService", "Diptych", "RayService"),
    *PODS,
    Milestone("applications run", "Ray", "RayService", is_serving),
    Milestone("RayService ready", "KubeRay", "RayService", is_ready),
    Milestone("DiffusionDeployment says so", "Diptych", "DiffusionDeployment", is_ready),
)
OPERATOR: Final = (
    Milestone("operator's container runs", "Kubernetes", "Pod", is_running),
    Milestone("operator ready", "Diptych", "Pod", is_ready),
)


def reached(milestones: Iterable[Milestone], sights: Sequence[Sight], began: float) -> list[Reached]:
    """Return the milestones that were reached, in the order in which they were."""
    moments = []
    for each in milestones:
        found = (sight.at for sight in sights if sight.thing["kind"] == each.kind and each.holds(sight.thing))
        if (at := min(found, default=None)) is not None:
            moments.append((at, each))
    moments.sort(key=lambda moment: moment[0])
    times = [began, *(at for at, _ in moments)]
    took = [after - before for before, after in pairwise(times)]
    return [
        Reached(each.name, each.whose, round(at - began, 2), round(seconds, 2))
        for (at, each), seconds in zip(moments, took, strict=True)
    ]


def part_of(whose: Whose, way: Iterable[Reached]) -> float:
    """Return the seconds that passed while somebody had the turn."""
    return round(sum(each.took_s for each in way if each.whose == whose), 2)
