"""Requests over a limit, of a full queue, that take too long or are too large."""

import threading
from pathlib import Path
from typing import Any

import pytest

from diptych_api.limits import RateLimit
from diptych_serving.allowances import Allowance
from diptych_serving.rate_limit import Client, Refusal
from support.counting_limiter import CountingLimiter
from support.http_requests import DEFAULTS, DOG, post
from support.services import Served, served

pytestmark = pytest.mark.slow


def test_a_limit_answers_429_with_reason_and_wait(base: Path) -> None:
    limiter = CountingLimiter(RateLimit.model_validate({"ip": {"maxRequestsPerHour": 2}}))
    with served(base, limiter=limiter) as service:
        service.configure(defaults=DEFAULTS, trustedProxies=["0.0.0.0/0"])
        answers = [service.client.post("/v1/generate", json=DOG) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[-1].headers["retry-after"] == "3600"
        assert answers[-1].json()["reason"] == "IPRequestsPerHour"


def test_what_is_left_of_each_limit_is_told_and_asking_for_it_is_free(base: Path) -> None:
    limits = {"ip": {"maxRequestsPerHour": 2}, "session": {"maxRequests": 5}, "work": {"perIp": 1000}}
    limiter = CountingLimiter(RateLimit.model_validate(limits))
    with served(base, limiter=limiter) as service:
        service.configure(defaults=DEFAULTS)

        def left() -> dict[str, float]:
            told = service.client.get("/v1/limits", headers={"x-session-id": "anna"}).json()["limits"]
            return {limit["reason"]: limit["remaining"] for limit in told}

        before, still = left(), left()
        assert before == still == {"SessionRequests": 5, "IPRequestsPerHour": 2, "WorkPerMinute": 1000}
        assert service.client.post("/v1/generate", json=DOG, headers={"x-session-id": "anna"}).status_code == 200
        after = left()
        assert (after["SessionRequests"], after["IPRequestsPerHour"]) == (4, 1)
        assert 0 < after["WorkPerMinute"] < 1000


def test_without_limits_nothing_is_left_to_tell(service: Served) -> None:
    assert service.client.get("/v1/limits").json() == {"limits": []}


def test_infer_counts_and_returns_the_session_whoever_named_it(base: Path) -> None:
    limiter = CountingLimiter(RateLimit.model_validate({"session": {"maxRequests": 1}}))
    with served(base, limiter=limiter) as service:
        service.configure(defaults=DEFAULTS)
        body = {"prompt": "a dog", "steps": 1, "session_id": "body"}

        def session(headers: dict[str, str], body: dict[str, Any]) -> Any:
            answer = service.client.post("/infer", json=body, headers=headers)
            return answer.json()["session_id"] if answer.status_code == 200 else answer.json()["reason"]

        assert session({"x-session-id": "a", "x-gradio-session": "b"}, body) == "a"
        assert session({"x-gradio-session": "b"}, body) == "b"
        assert session({"x-session-id": " "}, body) == "body"
        assert session({}, body) == "SessionRequests"
        made_up = session({}, {"prompt": "a dog", "steps": 1})
        assert made_up.startswith("sid-")
        assert session({}, {**body, "session_id": made_up}) == "SessionRequests"


def test_a_full_queue_answers_429(base: Path) -> None:
    with served(base, max_rows=2) as service:
        service.configure(defaults={"steps": 50, "guidanceScale": 2})
        drawer: Any = service.service.engines
        drawer.limits = drawer.limits.model_copy(update={"max_queue": 1})
        answers: list[Any] = []

        def ask() -> None:
            answers.append(service.client.post("/v1/generate", json={**DOG, "n": 1}))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {answer.status_code for answer in answers} == {200, 429}
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["reason"] == "QueueFull"
        assert int(refused.headers["retry-after"]) >= 1


def test_a_request_that_takes_too_long_gives_its_rows_back(base: Path) -> None:
    with served(base) as service:
        service.configure(limits={"requestTimeoutSeconds": 1, "maxSteps": 1000, "maxWorkUnits": 1e6})
        answer = service.client.post("/v1/generate", json={**DOG, "steps": 999, "n": 4})
        assert answer.status_code == 504
        service.configure(defaults=DEFAULTS)
        assert post(service, "/v1/generate", DOG)["timing"]["queue_ms"] < 60_000


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused_before_it_is_read(base: Path, *, chunked: bool) -> None:
    with served(base) as service:
        service.configure(defaults=DEFAULTS, limits={"maxBodyBytes": 1024})
        large = [b'{"prompt": "', *[b"x" * 100] * 20, b'"}']
        content = iter(large) if chunked else b"".join(large)
        answer = service.client.post("/v1/generate", content=content, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["reason"]) == (413, "BodyTooLarge")
        assert service.client.post("/v1/generate", json=DOG).status_code == 200


class AwayLimiter:
    """A limiter whose process is gone."""

    def __init__(self, *, from_the_start: bool) -> None:
        self.from_the_start = from_the_start

    async def admit(self, client: Client, work: float) -> Refusal | None:
        if self.from_the_start:
            raise ConnectionError("gone")
        return None

    async def finished(self, client: Client, seconds: float, *, succeeded: bool) -> None:
        raise ConnectionError("gone")

    async def allowances(self, client: Client) -> list[Allowance]:
        raise ConnectionError("gone")


def test_a_limiter_that_is_away_lets_nobody_in_but_costs_no_picture(base: Path) -> None:
    for from_the_start, status in ((True, 503), (False, 200)):
        with served(base, limiter=AwayLimiter(from_the_start=from_the_start)) as service:
            service.configure(defaults=DEFAULTS)
            assert service.client.post("/v1/generate", json=DOG).status_code == status
            assert service.client.get("/v1/limits").status_code == 503


def test_pictures_that_are_given_up_on_the_way_are_counted(service: Served) -> None:
    counted = list[tuple[float, bool]]()

    class Counting:
        async def admit(self, client: Client, work: float) -> Refusal | None:
            return None

        async def finished(self, client: Client, seconds: float, *, succeeded: bool) -> None:
            counted.append((seconds, succeeded))

        async def allowances(self, client: Client) -> list[Allowance]:
            return []

    service.service.limiter = Counting()
    service.configure(limits={"requestTimeoutSeconds": 1}, defaults=DEFAULTS)
    with service.client.stream("POST", "/v1/generate", json={**DOG, "steps": 150, "n": 8, "stream": True}) as answer:
        assert "TimedOut" in answer.read().decode()
    assert counted[0][0] > 0
