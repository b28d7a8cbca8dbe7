"""How the page ends a drawing: nothing is told after the stop, and the drawing is given up."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from diptych_serving.page.problem import Problem
from diptych_serving.page.stops import Stops, until


class Drawing:
    """Tells one step at a time, each when it is let."""

    def __init__(self, steps: int, problem: Problem | None = None) -> None:
        self.steps, self.problem = steps, problem
        self.may_go_on = asyncio.Semaphore(0)
        self.waits = asyncio.Event()
        self.ended = False

    async def tell(self) -> AsyncGenerator[int, None]:
        try:
            for step in range(self.steps):
                self.waits.set()
                await self.may_go_on.acquire()
                yield step
            if self.problem is not None:
                raise self.problem
        finally:
            self.ended = True


def test_all_steps_come_when_nobody_stops() -> None:
    async def listen() -> list[int]:
        drawing = Drawing(3)
        drawing.may_go_on = asyncio.Semaphore(3)
        return [step async for step in until(asyncio.Event(), drawing.tell())]

    assert asyncio.run(listen()) == [0, 1, 2]


def test_a_drawing_that_waits_is_given_up_at_the_stop() -> None:
    async def stop_at_the_second() -> tuple[list[int], bool]:
        drawing, stop, told = Drawing(3), asyncio.Event(), []
        drawing.may_go_on.release()
        async for step in until(stop, drawing.tell()):
            told.append(step)
            asyncio.get_running_loop().call_soon(stop.set)
        return told, drawing.ended

    assert asyncio.run(stop_at_the_second()) == ([0], True)


def test_a_step_that_comes_together_with_the_stop_is_not_told() -> None:
    async def stop_at_the_second() -> list[int]:
        drawing, stop, told = Drawing(3), asyncio.Event(), []
        drawing.may_go_on.release()
        async for step in until(stop, drawing.tell()):
            told.append(step)
            drawing.may_go_on.release()
            stop.set()
        return told

    assert asyncio.run(stop_at_the_second()) == [0]


def test_a_problem_of_the_drawing_reaches_who_listens() -> None:
    async def listen() -> None:
        drawing = Drawing(0, Problem(429, "A limit is reached.", "Try again later."))
        async for _ in until(asyncio.Event(), drawing.tell()):
            pass

    with pytest.raises(Problem, match="A limit is reached"):
        asyncio.run(listen())


def test_a_listener_that_goes_away_ends_the_drawing() -> None:
    async def leave() -> bool:
        drawing = Drawing(3)
        listening = asyncio.ensure_future(anext(until(asyncio.Event(), drawing.tell())))
        await drawing.waits.wait()
        listening.cancel()
        await asyncio.wait({listening})
        return drawing.ended

    assert asyncio.run(leave())


def test_each_session_stops_its_own_drawings_and_all_of_them() -> None:
    stops = Stops()
    with stops.heard("ann") as first, stops.heard("ann") as second, stops.heard("bob") as other:
        stops.stop("ann")
        assert [first.is_set(), second.is_set(), other.is_set()] == [True, True, False]


def test_a_stop_without_a_drawing_leaves_the_next_one_alone() -> None:
    stops = Stops()
    with stops.heard("ann"):
        pass
    stops.stop("ann")
    assert stops.going == {}
    with stops.heard("ann") as stop:
        assert not stop.is_set()
