"""Who may wait and for how long, on a clock of our own."""

from typing import Any

import pytest

from diptych_api.limits import Limits
from diptych_diffusion.drawing_settings import Settings
from diptych_serving.backlog import Backlog, Entry
from diptych_serving.image_request import ImageRequest
from diptych_serving.refusals import Code, Refused

UNIT = ImageRequest("a dog", 1, Settings(512, 512, steps=10, guidance_scale=1.0))
"""One row, ten work units."""


def limits(**values: Any) -> Limits:
    return Limits.model_validate(values)


def enter(backlog: Backlog, request: ImageRequest = UNIT, *, now: float = 0.0, rows: int = 1, **values: Any) -> Entry:
    return backlog.enter(request, limits(**values), rows, now)


def refusal(backlog: Backlog, *, now: float = 0.0, rows: int = 1, **values: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        enter(backlog, now=now, rows=rows, **values)
    assert (caught.value.code, caught.value.reason) == (Code.LIMITED, "QueueFull")
    return caught.value


def test_requests_wait_only_when_no_rows_are_free_and_only_so_many() -> None:
    backlog = Backlog()
    drawing = [enter(backlog, rows=2, maxQueue=1) for _ in range(2)]
    waiting = enter(backlog, rows=2, maxQueue=1)
    assert refusal(backlog, rows=2, maxQueue=1).message == "1 requests wait already on this replica; 1 may."
    backlog.leave(drawing[0])
    backlog.progressed(waiting, 0.1, 1.0)
    enter(backlog, rows=2, maxQueue=1)


def test_a_queue_of_nothing_still_draws_what_has_rows() -> None:
    backlog = Backlog()
    first = enter(backlog, maxQueue=0)
    refusal(backlog, maxQueue=0)
    backlog.leave(first)
    enter(backlog, maxQueue=0)


def test_only_so_much_work_may_wait_but_one_request_always() -> None:
    backlog = Backlog()
    enter(backlog)
    enter(backlog, maxQueuedWorkUnits=5)
    assert refusal(backlog, maxQueuedWorkUnits=15).message == "10 work units wait already on this replica; 15 may."
    enter(backlog, maxQueuedWorkUnits=20)


def test_a_request_with_more_rows_than_there_are_is_let_in_alone() -> None:
    backlog = Backlog()
    enter(backlog, maxQueue=0, rows=0)


def test_when_to_try_again_is_told_by_how_fast_work_was_done() -> None:
    backlog = Backlog()
    first = enter(backlog, now=100.0)
    enter(backlog, now=100.0)
    assert refusal(backlog, maxQueuedWorkUnits=10).retry_after_s == 2.0
    for step in range(1, 6):
        backlog.progressed(first, step / 10, 100.0 + 2 * step)
    assert refusal(backlog, maxQueuedWorkUnits=12).retry_after_s == pytest.approx(8 * 2)
    assert refusal(backlog, maxQueue=1).retry_after_s == pytest.approx(7.5 * 2)


def test_a_rest_does_not_count_as_slow() -> None:
    backlog = Backlog()
    first = enter(backlog)
    backlog.progressed(first, 1.0, 10.0)
    backlog.leave(first)
    second = enter(backlog, now=1000.0)
    backlog.progressed(second, 0.5, 1005.0)
    enter(backlog)
    assert refusal(backlog, maxQueuedWorkUnits=10).retry_after_s == pytest.approx(10)


def test_work_left_shrinks_with_every_step_and_ends_at_nothing() -> None:
    backlog = Backlog()
    first, second = enter(backlog), enter(backlog)
    assert backlog.work_left == 20
    backlog.progressed(first, 0.3, 1.0)
    assert backlog.work_left == pytest.approx(17)
    backlog.leave(first)
    backlog.leave(second)
    assert backlog.work_left == 0
