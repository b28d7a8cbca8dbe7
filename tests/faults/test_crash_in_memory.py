"""A crash at any write leaves a state from which the next operator reaches the end that the first would have reached.

A killed operator loses all that it knew and nothing that is stored. So a crash before a write leaves what the write
before it left, and every moment after a write, and the one before the first, are all the crashes that there are.
"""

from dataclasses import dataclass, field
from functools import cache

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from diptych_operator.kinds import Manifest
from support.memory_moves import moves
from support.memory_world import Moment, World

CHOICES = st.lists(st.integers(0, 2**20), min_size=6, max_size=14)
LONG = settings(
    max_examples=170, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink)
)
SHORT = settings(LONG, max_examples=3, derandomize=True)
LIKELY = 4
FORWARD = ("create", "RayJob", "RayService", "report", "KubeRay")
CHAPTERS = {
    "nothing": (),
    "training": (
        *("create DiffusionModel", "create FineTuneJob", "RayJob Initializing", "RayJob WorkersStarting"),
        *("head starts", "RayJob Submitting", "RayJob Running", "report 10"),
    ),
    "trained": ("report success", "RayJob Succeeded"),
    "serving": (
        *("create DiffusionDeployment", "RayService Initializing", "RayService Deploying"),
        *("RayService Promoted", "RayService Running"),
    ),
}
NOISE = ("generation", "resourceVersion", "uid")
PASSING = frozenset({"AdapterFailed", "Updating"})
"""Events of what may be over before an operator looks: a job between two tries, a repair that was made."""


@dataclass
class Crashing(World):
    """A world in which the operator is killed at every write, and what another one makes of it is compared."""

    crashes: int = 0
    story: list[str] = field(default_factory=list)

    def settle(self) -> None:
        """Work until there is nothing to do; then do it again from each moment on the way."""
        on_the_way = [self.moment()]
        self.memory.written = lambda: on_the_way.append(self.moment())
        super().settle()
        self.memory.written = lambda: None
        undisturbed = self.moment()
        for number, moment in enumerate(on_the_way):
            self.crashes += 1
            other = World.at(moment, self.planner)
            other.settle()
            writes = self.memory.writes[-len(on_the_way) :]
            wrong = differences(other.moment(), undisturbed)
            assert not wrong, f"killed after {number} of {writes} in {self.story}: {wrong}"

    def live(self, choices: list[int]) -> None:
        """Let one thing after the other happen, chosen among what may happen then."""
        for choice in choices:
            possible = [name for name in moves(self) for _ in range(LIKELY if name.startswith(FORWARD) else 1)]
            self.happen(possible[choice % len(possible)])

    def happen(self, *names: str) -> None:
        """Let these things happen, and the operator work after each."""
        for name in names:
            self.story.append(name)
            moves(self)[name](self)
            self.settle()


def differences(disturbed: Moment, undisturbed: Moment) -> list[str]:
    """Return what is stored in one world and not in the other. Times count: nothing is told anew at a later time."""
    mine, theirs = (moment.objects for moment in (disturbed, undisturbed))
    wrong = [str(ref) for ref in {*mine, *theirs} if _stored(mine.get(ref)) != _stored(theirs.get(ref))]
    lost = [undisturbed.events[name]["reason"] for name in undisturbed.events.keys() - disturbed.events.keys()]
    new = [disturbed.events[name]["reason"] for name in disturbed.events.keys() - undisturbed.events.keys()]
    return sorted([*wrong, *(reason for reason in [*lost, *new] if reason not in PASSING)])


def _stored(found: Manifest | None) -> Manifest:
    """Return an object without the numbers that the API server draws, or counts: how many writes led to it."""
    if found is None:
        return {}
    return {**found, "metadata": {name: part for name, part in found["metadata"].items() if name not in NOISE}}


@cache
def chapter(name: str) -> Moment:
    """Return the world as it is after the first chapters, up to this one; the crashes on the way were tried too."""
    world = Crashing()
    for title, happenings in CHAPTERS.items():
        world.happen(*happenings)
        if title == name:
            break
    return world.moment()


@pytest.mark.parametrize("name", CHAPTERS)
@SHORT
@given(CHOICES)
def test_an_operator_that_is_killed_at_any_write_ends_where_it_would_have_ended(name: str, choices: list[int]) -> None:
    Crashing.at(chapter(name)).live(choices)


@pytest.mark.integration
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", CHAPTERS)
def test_ten_thousand_crashes_end_where_they_would_have_ended(name: str) -> None:
    crashes = 0

    @LONG
    @given(CHOICES)
    def crash(choices: list[int]) -> None:
        nonlocal crashes
        world = Crashing.at(chapter(name))
        world.live(choices)
        crashes += world.crashes

    crash()
    assert crashes >= 10_000 / len(CHAPTERS)
