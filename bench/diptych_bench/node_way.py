"""From `helm install` to the first compared picture on a real node, phase by phase."""

import time
from collections.abc import Iterator, Sequence
from typing import Final

from diptych_bench.figures import save, show
from diptych_bench.machine import this_machine, watched
from diptych_bench.node_milestones import DEPLOYMENT, JOB, OPERATOR, Reached, part_of, reached, told
from diptych_bench.node_place import MOST_S, Place, installed
from diptych_bench.node_watch import OF_DEPLOYMENTS, OF_JOBS
from diptych_bench.operator_bars import COLUMNS, Bar
from e2e.deployments import deployment
from e2e.jobs import job, workspace

MOST_OF_THE_OPERATOR_S: Final = 2
FIRST_STEP: Final = "first training step"
Ways = dict[str, Sequence[Reached]]


def way() -> None:
    """Measure, print and save."""
    with watched() as weather, installed() as place:
        place.shell.apply(workspace())
        ways: Ways = dict(_ways(place))
    for name, steps in ways.items():
        rows = [(each.whose, each.name, f"{each.at_s:.1f}", f"{each.took_s:.1f}") for each in steps]
        show(f"{name}, seconds", ("whose turn", "until", "since the command", "took"), rows)
    bars = _bars(ways)
    show("the way on a node", COLUMNS, [bar.row() for bar in bars])
    print(save("node-way", this_machine(), weather, {"ways": ways, "bars": bars}))


def _ways(place: Place) -> Iterator[tuple[str, Sequence[Reached]]]:
    yield "helm install", reached(OPERATOR, place.installation.sights, place.began)
    with place.watched(*OF_JOBS) as watch:
        began = time.monotonic()
        place.shell.apply(job("noto"))
        watch.wait(told("FineTuneJob", "noto", "phase", "Succeeded", "Failed"), MOST_S)
        yield "a FineTuneJob of 40 steps", reached(JOB, watch.sights, began)
    with place.watched(*OF_DEPLOYMENTS) as watch:
        began = time.monotonic()
        place.shell.apply(deployment("noto", adapters=[{"name": "noto", "fromJob": {"name": "noto"}}]))
        watch.wait(told("DiffusionDeployment", "noto", "phase", "Ready"), MOST_S)
        steps = reached(DEPLOYMENT, [sight for sight in watch.sights if not of_jobs(sight.thing)], began)
        yield "a DiffusionDeployment", [*steps, _compared(place, began)]


def of_jobs(thing: dict[str, object]) -> bool:
    """Return whether an object is one that a job has left."""
    return "noto-serve" not in str(thing["metadata"]) and thing["kind"] in ("Pod", "RayCluster")


def _compared(place: Place, began: float) -> Reached:
    """Draw base and tuned as a person does, and tell when the picture was there."""
    before = time.monotonic()
    with place.shell.forwarded("service/noto-images", 8000) as (port,):
        place.shell(f'diptych compare "red apple" --seed 7 --server http://127.0.0.1:{port} -o /dev/null')
    now = time.monotonic()
    return Reached("first compared picture", "the user", round(now - began, 2), round(now - before, 2))


def _bars(ways: Ways) -> list[Bar]:
    install, trained, deployed = ways.values()
    to_step = list(trained[: [each.name for each in trained].index(FIRST_STEP) + 1])
    whole = [*install, *trained, *deployed]
    return [
        Bar("apply to first training step", to_step[-1].at_s, unit="s"),
        Bar("of which the operator's", part_of("Diptych", to_step), MOST_OF_THE_OPERATOR_S, "s"),
        Bar("helm install to first compared picture", sum(steps[-1].at_s for steps in ways.values()), unit="s"),
        Bar("of which the operator's", part_of("Diptych", whole), MOST_OF_THE_OPERATOR_S, "s"),
    ]
