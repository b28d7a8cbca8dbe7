"""Whose turn it was when, on the way to a job that has ended."""

from typing import Any

from diptych_bench.node_milestones import JOB, Sight, part_of, reached

HEAD = {"labels": {"ray.io/node-type": "head"}}


def sight(at: float, kind: str, **parts: Any) -> Sight:
    """Return something that was told of an object."""
    return Sight(at, {"kind": kind, "metadata": {}} | parts)


def test_milestones_come_in_the_order_in_which_they_were_reached() -> None:
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    sights = [
        sight(100.5, "RayJob"),
        sight(102.0, "RayCluster"),
        sight(103.0, "Pod", metadata=HEAD),
        sight(109.0, "Pod", metadata=HEAD, status=ready),
        sight(120.0, "FineTuneReport", spec={"phase": "Preparing"}),
        sight(125.0, "FineTuneReport", spec={"phase": "Training", "step": 0}),
        sight(131.0, "FineTuneReport", spec={"phase": "Training", "step": 3}),
        sight(140.0, "RayJob", status={"jobDeploymentStatus": "Complete"}),
        sight(140.25, "FineTuneJob", status={"phase": "Succeeded"}),
    ]
    way = reached(JOB, sights, began=100.0)
    assert [(each.name, each.at_s) for each in way] == [
        ("RayJob", 0.5),
        ("RayCluster", 2.0),
        ("head's pod", 3.0),
        ("head ready", 9.0),
        ("first report", 20.0),
        ("first training step", 31.0),
        ("RayJob has ended", 40.0),
        ("FineTuneJob says so", 40.25),
    ]
    assert part_of("Diptych", way) == 0.75
    assert sum(each.took_s for each in way) == way[-1].at_s
