"""How fast pictures came lately, by a clock of our own."""

from diptych_serving.records import DRAWN, Record
from diptych_serving.speed import Speed


def record(seconds: float, outcome: str = DRAWN) -> Record:
    return Record("r", outcome, seconds, "ip", None, ("base",), 2, 2, 20, 1.0, 0.0, 0.0)


def test_the_requests_of_the_last_ten_minutes_are_told() -> None:
    now = 0.0
    speed = Speed(lambda: now)
    assert speed.told().p50_seconds is None
    speed.take(record(100))
    now = 601.0
    for seconds in (1, 2, 3):
        speed.take(record(seconds))
    speed.take(record(50, "QueueFull"))
    told = speed.told()
    assert (told.p50_seconds, told.images_per_minute) == (2, 0.6)
    assert 2 < (told.p95_seconds or 0) <= 3
    now = 1300.0
    assert speed.told().p50_seconds is None
