"""What Diptych adds to a job on KubeRay: FineTuneJobs, and the same RayJobs without it, in turn on one node."""

import statistics
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Final

from cluster.objects import Values
from diptych_api.fields import API_GROUP
from diptych_bench.figures import ratios, save, show
from diptych_bench.machine import this_machine, watched
from diptych_bench.node_milestones import ENDED, JOB, RAY_JOB, Reached, reached, told
from diptych_bench.node_place import MOST_S, Place, installed
from diptych_bench.node_watch import OF_JOBS, OF_RAY_JOBS
from diptych_bench.operator_bars import COLUMNS, Bar
from diptych_operator.sealing import unsealed
from e2e.jobs import job, workspace

MOST_TIMES: Final = 1.10
OWN: Final = f"{API_GROUP}/"
OWN_VARIABLES: Final = ("DIPTYCH_REPORT", "DIPTYCH_RUN")
Way = Sequence[Reached]


@dataclass(frozen=True, slots=True)
class Round:
    """One job of each way."""

    ours: Way
    bare: Way


def cost(rounds: int, steps: int) -> None:
    """Measure, print and save."""
    with watched() as weather, installed() as place:
        place.shell.apply(workspace())
        _, child = _ours(place, "warm", steps)  # what a node reads for the first time is read by neither
        done = [_round(place, number, steps, child) for number in range(rounds)]
    rows = [(name, whose, *(_median(done, way, name) for way in ("ours", "bare"))) for name, whose in _names(done)]
    show(
        f"{rounds} jobs of {steps} steps each, median seconds since the command", ("until", "", "Diptych", "bare"), rows
    )
    spread = ratios([each.ours[-1].at_s for each in done], [each.bare[-1].at_s for each in done])
    bar = Bar(f"a FineTuneJob over a bare RayJob {spread}", spread.median, MOST_TIMES, "times")
    show("the cost of Diptych", COLUMNS, [bar.row()])
    print(save("node-cost", this_machine(), weather, {"rounds": done, "steps": steps, "ratio": spread, "bars": [bar]}))


def bare(child: Values, name: str) -> Values:
    """Return a RayJob as its user would write it for the same program: nothing of it is of interest to Diptych."""
    body = deepcopy(child["spec"])
    cluster = body["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        template = group["template"]
        template["metadata"]["labels"] = _foreign(template["metadata"].get("labels", {}))
        for container in template["spec"]["containers"]:
            container["env"] = [each for each in container["env"] if each["name"] not in OWN_VARIABLES]
    head = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]
    head["env"].append({"name": "DIPTYCH_RUN", "value": name})
    return {"apiVersion": child["apiVersion"], "kind": child["kind"], "metadata": {"name": name}, "spec": body}


def _foreign(labels: Values) -> Values:
    return {name: value for name, value in labels.items() if not name.startswith(OWN)}


def _round(place: Place, number: int, steps: int, child: Values) -> Round:
    """Run one of each; the first has its turn first in every second round."""
    if number % 2:
        without = _bare(place, f"bare-{number}", child)
        return Round(_ours(place, f"ours-{number}", steps)[0], without)
    ours, _ = _ours(place, f"ours-{number}", steps)
    return Round(ours, _bare(place, f"bare-{number}", child))


def _ours(place: Place, name: str, steps: int) -> tuple[Way, Values]:
    """Run a FineTuneJob; return its way and the RayJob that was made of it."""
    with place.watched(*OF_JOBS) as watch:
        began = time.monotonic()
        place.shell.apply(job(name, training={"steps": steps}))
        watch.wait(told("FineTuneJob", name, "phase", "Succeeded", "Failed"), MOST_S)
        way = reached(JOB, watch.sights, began)
        child = unsealed(watch.wait(told("RayJob", name, "jobDeploymentStatus", "Complete"), MOST_S).thing)
    if child is None:
        raise RuntimeError(f"the RayJob of {name} does not tell what was applied")
    place.delete(f"finetunejob/{name}")
    return way, child


def _bare(place: Place, name: str, child: Values) -> Way:
    with place.watched(*OF_RAY_JOBS) as watch:
        began = time.monotonic()
        place.shell.apply(bare(child, name))
        last = watch.wait(told("RayJob", name, "jobDeploymentStatus", *ENDED), MOST_S).thing["status"]
        way = reached(RAY_JOB, watch.sights, began)
    if last["jobStatus"] != "SUCCEEDED":
        raise RuntimeError(f"the bare RayJob has not succeeded: {last}")
    place.delete(f"rayjob/{name}")
    return way


def _names(rounds: Sequence[Round]) -> list[tuple[str, str]]:
    """Return what was reached and by whom, in the order of our ways."""
    return [(each.name, each.whose) for each in rounds[0].ours]


def _median(rounds: Sequence[Round], way: str, name: str) -> str:
    found = [each.at_s for one in rounds for each in getattr(one, way) if each.name == name]
    return f"{statistics.median(found):.1f}" if found else ""
