"""What one job costs the API server from its creation to its end, moment by moment."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Final

from cluster.control_plane import ControlPlane
from cluster.rayjob_states import TO_RUNNING
from diptych_bench.figures import show
from diptych_bench.operator_bars import Bar, Outcome
from diptych_bench.operator_job import Stage, finished, training
from diptych_bench.operator_patterns import played_patterns
from diptych_bench.operator_plane import started_plane
from diptych_bench.operator_process import USER, started_operator
from diptych_bench.operator_requests import CREATED, Request, requests_since

REPORTS: Final = 3
CHILDREN: Final = 2


@dataclass(frozen=True, slots=True)
class Moment:
    """What the operator did after something had happened to a job."""

    happened: str
    phase: str
    is_progress: bool
    applies: int
    statuses: int
    events: int
    others: int
    """Requests that changed nothing of these, reads among them."""

    @classmethod
    def of(cls, happened: str, phase: str, requests: list[Request], *, is_progress: bool) -> "Moment":
        """Return the moment, from the operator's requests."""
        told = [request for request in requests if not request.is_lease and request.verb != "watch"]
        statuses = [request for request in told if request.part == "status"]
        events = [request for request in told if request.resource == "events" and request.code == CREATED]
        applies = [
            request for request in told if request.verb in ("patch", "update", "delete") and request.part != "status"
        ]
        others = len(told) - len(statuses) - len(events) - len(applies)
        return cls(happened, phase, is_progress, len(applies), len(statuses), len(events), others)


def life() -> Outcome:
    """Play a job to its end and count after each step what was asked of the API server."""
    with started_plane() as plane:
        played_patterns(plane)  # makes the accounts that all jobs of a namespace share
        moments = list(_moments(plane))
    columns = ("happened", "phase then", "applies", "status writes", "Events", "other requests")
    rows = [(m.happened, m.phase, m.applies, m.statuses, m.events, m.others) for m in moments]
    show("the operator: a job from its creation to its end", columns, rows)
    lasting = [moment for moment in moments if not moment.is_progress]
    phases = len({moment.phase for moment in moments})
    bars = [
        Bar("applies of children", sum(moment.applies for moment in moments), CHILDREN),
        Bar("phases that the job went through", phases),
        Bar("status writes, apart from progress", sum(moment.statuses for moment in lasting), phases),
        Bar("Events", sum(moment.events for moment in moments), phases),
        Bar("status writes for a report of progress", max(m.statuses for m in moments if m.is_progress), 1),
    ]
    return Outcome(bars, {"moments": [asdict(moment) for moment in moments]})


def _moments(plane: ControlPlane) -> Iterator[Moment]:
    stage = Stage(plane, "one-life")
    with started_operator(plane) as operator:
        operator.settle()

        def after(happened: str, happen: Callable[[], object], *, is_progress: bool = False) -> Moment:
            mark = plane.audit.mark()
            happen()
            operator.settle()
            requests = requests_since(plane.audit.log, mark, USER)
            return Moment.of(happened, str(stage.status().get("phase", "")), requests, is_progress=is_progress)

        yield after("created", stage.begin)
        for state in TO_RUNNING:
            yield after(f"RayJob: {state}", lambda state=state: stage.play(state))  # type: ignore[misc]
        for number in range(1, REPORTS + 1):
            said = training(number * 10)
            yield after(f"report of step {number * 10}", lambda said=said: stage.say(said), is_progress=True)  # type: ignore[misc]
        yield after("report of the end", lambda: stage.say(finished()), is_progress=True)
        yield after("RayJob: Succeeded", lambda: stage.play("Succeeded"))
