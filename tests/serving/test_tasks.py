"""Who waits, who draws, who joins next."""

from dataclasses import replace
from typing import Any

from diptych_diffusion.drawing_settings import Settings
from diptych_serving.image_request import Arm, Event, ImageRequest, Progress
from diptych_serving.tasks import Floor, Task

PLAIN = ImageRequest("a dog", 1, Settings(64, 64, steps=10, guidance_scale=1.0))


def task(arms: int = 1, **settings: Any) -> Task:
    """Return a task with some arms, one row each unless it is guided."""
    request = replace(PLAIN, arms=(Arm(),) * arms, settings=replace(PLAIN.settings, **settings))
    return Task(request, (None,) * arms, lambda _: None)


def test_rows_and_work_count_arms_and_guidance() -> None:
    both = task(3, guidance_scale=2.0, height=512, width=256).request
    assert (both.rows, both.work_units) == (6, 6 * 10 / 2)


def test_whoever_came_first_is_let_in_first_and_nobody_is_overtaken() -> None:
    floor = Floor(max_rows=4)
    first, wide, small = task(3), task(2), task(1)
    floor.waiting.extend([first, wide, small])
    assert list(floor.admit()) == [first]
    assert not list(floor.admit())
    floor.leave(first)
    assert list(floor.admit()) == [wide, small]


def test_a_request_with_more_rows_than_there_are_draws_alone_in_pieces() -> None:
    floor = Floor(max_rows=4)
    huge, small = task(6), task(1)
    floor.waiting.extend([huge, small])
    assert list(floor.admit()) == [huge]
    assert floor.rows == 6


def test_what_was_cancelled_makes_room() -> None:
    floor = Floor(max_rows=2)
    first, second, third = task(2), task(2), task(2)
    floor.waiting.extend([first, second, third])
    list(floor.admit())
    first.cancel()
    second.cancel()
    floor.sweep()
    assert list(floor.admit()) == [third]


def test_a_listener_that_fails_is_let_go_of_and_hears_nothing_more() -> None:
    heard: list[Event] = []

    def listen(event: Event) -> None:
        heard.append(event)
        raise OSError("the client went away")

    told = Task(PLAIN, (None,), listen)
    told.tell(Progress(1, 2))
    told.tell(Progress(2, 2))
    assert (heard, told.cancelled) == ([Progress(1, 2)], True)


def test_whoever_waits_too_long_is_let_go_of_and_whoever_draws_is_not() -> None:
    floor = Floor(max_rows=1)
    drawing, late, patient = task(), task(), task()
    for one, allowed in ((drawing, 5.0), (late, 5.0), (patient, 50.0)):
        one.submitted, one.queue_timeout_s = 100.0, allowed
    floor.waiting.extend([drawing, late, patient])
    list(floor.admit())
    assert list(floor.overdue(104.0)) == []
    assert list(floor.overdue(105.0)) == [late]
    assert (floor.drawing, list(floor.waiting)) == ([drawing], [patient])
