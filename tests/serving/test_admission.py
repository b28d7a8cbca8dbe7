"""However many ask at once, as many are drawn as may, and not one more."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from diptych_api.errors import SpecInvalid
from diptych_serving.limiter import Limiter
from diptych_serving.rate_limit import Client
from diptych_serving.registry import Registry
from support.limiters import followed, limiter
from support.services import served
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

THREADS = 100
ANNA = Client("10.0.0.1")
DOG = {"prompt": "a dog", "seed": 7}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("scope", ["ip", "total"])
def test_a_hundred_threads_never_over_admit(tmp_path: Path, scope: str) -> None:
    registry, allowed = Registry(), 7
    config = {"rateLimit": {scope: {"maxRequestsPerDay": allowed}, "store": str(tmp_path / "store")}}
    with served(make_pipeline(tmp_path)) as service:
        service.configure(defaults={"steps": 1, "guidanceScale": 1}, **config)
        portal = service.client.portal
        assert portal is not None
        portal.call(registry.reconfigure, config)
        limits: Limiter = portal.call(_started, registry)
        service.service.limiter = limits
        together = threading.Barrier(THREADS)

        def ask(_: int) -> Any:
            together.wait(60)
            return service.client.post("/v1/generate", json=DOG)

        with ThreadPoolExecutor(THREADS) as threads:
            answers = list(threads.map(ask, range(THREADS)))
        portal.call(limits.close)
    refused = [answer for answer in answers if answer.status_code == 429]
    assert [answer.status_code for answer in answers].count(200) == allowed
    assert len(refused) == THREADS - allowed
    assert {answer.json()["reason"] for answer in refused} == {
        "IPRequestsPerDay" if scope == "ip" else "TotalRequestsPerDay"
    }
    assert all(0 < int(answer.headers["retry-after"]) <= 86_400 for answer in refused)


async def _started(registry: Registry) -> Limiter:
    return Limiter("local", "test", followed(registry))


@pytest.mark.anyio
async def test_limits_that_variables_name_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AD_GLOBAL_MAX_REQ_DAY", "1")
    registry = Registry()
    async with limiter(registry, total={"maxRequestsPerDay": 50}) as limited:
        newest = await registry.newer("")
        assert newest is not None
        assert newest[1].rate_limit.total.max_requests_per_day == 1
        answers = [await limited.admit(ANNA, 1) for _ in range(2)]
    assert [answer and answer.reason for answer in answers] == [None, "TotalRequestsPerDay"]


@pytest.mark.anyio
async def test_a_variable_that_is_wrong_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    await registry.reconfigure({"examples": ["owl"]})
    monkeypatch.setitem(os.environ, "AD_COST_PER_SEC", "much")
    with pytest.raises(SpecInvalid, match="AD_COST_PER_SEC=much"):
        await registry.reconfigure({"examples": ["cat"]})
    newest = await registry.newer("")
    assert newest is not None
    assert list(newest[1].examples) == ["owl"]
