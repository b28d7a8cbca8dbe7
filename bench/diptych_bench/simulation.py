"""The engine in simulated time: its own admission, with measured seconds in place of tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diptych_bench.arrivals import Arrival
from diptych_bench.policies import Policy
from diptych_serving.tasks import Floor, Task


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds that were measured."""

    same: Mapping[int, float]
    """Of a step by the number of pictures, all with one adapter."""
    mixed: Mapping[int, float]
    """Of a step by the number of pictures, neighbours with different ones."""
    begin_s: float
    decode_s: float
    """Of one picture."""

    def step(self, drawing: Sequence[Task]) -> float:
        """Return the seconds of a step of these tasks."""
        arms = [arm for task in drawing for arm in task.request.arms]
        table = self.same if len(set(arms)) == 1 else self.mixed
        return table[len(arms)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trace came to."""

    latencies_s: list[float]
    end_s: float
    cpu_s: float = 0.0
    """Of the whole process; in simulated time none."""


@dataclass
class _Run:
    floor: Floor
    costs: Costs
    now: float = 0.0

    def step(self, left: dict[Task, int], done: dict[Task, float]) -> None:
        """Let in, move everybody by a step, and let go of who is finished."""
        for task in self.floor.admit():
            left[task] = task.request.settings.steps
            self.now += self.costs.begin_s
        self.now += self.costs.step(self.floor.drawing)
        for task in list(self.floor.drawing):
            left[task] -= 1
            if not left[task]:
                self.floor.leave(task)
                self.now += self.costs.decode_s * len(task.request.arms)
                done[task] = self.now


def simulate(arrivals: Sequence[Arrival], policy: Policy, costs: Costs, max_rows: int) -> Outcome:
    """Return how long each request would take; a split one is done with its last part."""
    run = _Run(policy.floor(max_rows), costs)
    coming = [[Task(part, (None,), lambda _: None) for part in policy.parts(a.request)] for a in arrivals]
    left: dict[Task, int] = {}
    done: dict[Task, float] = {}
    arrived = 0
    while arrived < len(arrivals) or not run.floor.is_empty:
        if run.floor.is_empty:
            run.now = max(run.now, arrivals[arrived].at_s)
        while arrived < len(arrivals) and arrivals[arrived].at_s <= run.now:
            run.floor.waiting.extend(coming[arrived])
            arrived += 1
        run.step(left, done)
    ends = [max(done[task] for task in tasks) for tasks in coming]
    return Outcome([end - arrival.at_s for end, arrival in zip(ends, arrivals, strict=True)], run.now)
