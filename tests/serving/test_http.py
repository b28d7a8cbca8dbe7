"""The HTTP API over a real engine: what clients get, and how they are told no."""

import base64
import hashlib
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from diptych_api.limits import RateLimit
from diptych_api.servingconfig import RegistryConfig
from diptych_serving.http_api import build_http
from diptych_serving.jobs import JobBook
from diptych_serving.rate_limit import Client, RateLimiter, Refusal
from support.adapters import saved_adapter
from support.services import Served, picture_of, served
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

DEFAULTS = {"steps": 3, "guidanceScale": 2}
DOG = {"prompt": "a dog", "seed": 7}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pipeline(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def style(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    return saved_adapter(tmp_path_factory.mktemp("style"), base)


@pytest.fixture
def service(base: Path, style: Path) -> Iterator[Served]:
    with served(base) as service:
        adapters = [{"name": "style", "uri": str(style)}, {"name": "gone", "uri": "/nowhere"}]
        service.configure(adapters=adapters, defaults=DEFAULTS)
        yield service


def post(service: Served, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = service.client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    values: dict[str, Any] = answer.json()
    return values


def test_compare_draws_both_sides_as_generate_draws_each(service: Served) -> None:
    both = post(service, "/v1/compare", {**DOG, "arms": [{}, {"adapter": "style"}]})
    alone = [post(service, "/v1/generate", {**DOG, "adapter": name}) for name in (None, "style")]
    for together, one in zip(both["images"], alone, strict=True):
        difference = picture_of(together["image"]).astype(int) - picture_of(one["images"][0]["image"])
        assert np.abs(difference).max() <= 1
    left, right = (picture_of(image["image"]) for image in both["images"])
    assert not np.array_equal(left, right)
    assert [image["seed"] for image in both["images"]] == [7, 7]
    assert both["timing"]["rows"] == 4


def test_a_drawn_seed_is_returned_and_reproduces(service: Served) -> None:
    first = post(service, "/v1/generate", {"prompt": "a dog"})["images"][0]
    again = post(service, "/v1/generate", {"prompt": "a dog", "seed": first["seed"]})["images"][0]
    assert again["image"] == first["image"]


def test_a_picture_says_how_it_was_made(service: Served) -> None:
    image = post(service, "/v1/generate", {**DOG, "adapter": "style", "strength": 0.5})["images"][0]
    assert (image["adapter"], image["strength"]) == ("style", 0.5)
    with Image.open(io.BytesIO(base64.b64decode(image["image"]))) as file:
        record = json.loads(file.info["diptych"])
    assert record["prompt"] == "a dog"
    assert (record["seed"], record["steps"], record["adapter"], record["strength"]) == (7, 3, "style", 0.5)
    assert record["adapter_digest"] == image["adapter_digest"]


def test_a_broken_adapter_never_gives_a_base_picture_under_its_name(service: Served) -> None:
    reply = post(service, "/v1/compare", DOG)
    base, _, gone = reply["images"]
    assert gone["image"] != ""
    assert np.array_equal(picture_of(gone["image"]), picture_of(base["image"]))
    assert gone["adapter"] is None
    assert gone["requested_adapter"] == "gone"
    assert "There is no /nowhere on this machine." in gone["degraded"]


def test_ready_tells_of_adapters_that_have_finally_failed(service: Served) -> None:
    answer = service.client.get("/ready")
    assert answer.status_code == 200
    states = {name: adapter["state"] for name, adapter in answer.json()["adapters"].items()}
    assert states == {"style": "Loaded", "gone": "Failed"}


def test_nothing_is_ready_before_the_base(base: Path) -> None:
    with served(base) as service:
        assert service.client.get("/health").status_code == 200
        assert service.client.get("/ready").status_code == 503
        answer = service.client.post("/v1/generate", json=DOG)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.json()["reason"] == "Loading"


def test_adapters_come_and_go_while_the_engine_stays(service: Served, style: Path) -> None:
    engine = service.engine
    service.configure(adapters=[{"name": "renamed", "uri": str(style)}], defaults=DEFAULTS)
    assert list(engine.bank.loaded) == ["renamed"]
    assert [model["id"] for model in service.client.get("/v1/models").json()["data"]] == ["tiny", "renamed"]
    assert service.client.post("/v1/generate", json={**DOG, "adapter": "style"}).status_code == 404
    service.configure(adapters=[], defaults=DEFAULTS)
    assert not engine.bank.loaded


def test_an_adapter_with_another_digest_is_refused_by_name(service: Served, style: Path) -> None:
    adapter = {"name": "style", "uri": str(style), "digest": "sha256:" + "0" * 64}
    service.configure(adapters=[adapter], defaults=DEFAULTS)
    state = service.client.get("/ready").json()["adapters"]["style"]
    assert state["state"] == "Failed"
    assert "has digest sha256:" in state["message"]
    assert not service.engine.bank.loaded


def test_an_adapter_for_another_base_is_refused_by_name(service: Served, tmp_path: Path) -> None:
    other = saved_adapter(tmp_path / "other", make_pipeline(tmp_path / "another", seed=5))
    service.configure(adapters=[{"name": "other", "uri": str(other)}], defaults=DEFAULTS)
    assert "another base" in service.client.get("/ready").json()["adapters"]["other"]["message"]


def test_a_store_that_fails_for_a_moment_is_asked_again(base: Path, style: Path) -> None:
    calls = []

    def fetch(_: str) -> Path:
        calls.append(1)
        if len(calls) < 3:
            raise OSError("the store is away")
        return style

    with served(base, fetch=fetch) as service:
        service.configure(adapters=[{"name": "style", "uri": "s3://somewhere"}])
        assert service.keeper.facts["style"].state == "Loaded"


def test_a_problem_names_every_field_that_is_wrong(service: Served) -> None:
    answer = service.client.post("/v1/compare", json={"prompt": 5, "arms": [{"adapter": "style", "strngth": 1}]})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == ["prompt", "arms[0].strngth"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"prompt": NaN}', b'{"prompt":"x","eta":1e999}']
)
def test_a_body_that_is_no_request_is_refused(service: Served, content: bytes) -> None:
    answer = service.client.post("/v1/generate", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text


def test_a_grid_shows_all_sides(service: Served) -> None:
    grid = picture_of(post(service, "/v1/compare", {**DOG, "grid": True})["grid"])
    assert grid.shape[1] > 3 * 256


@pytest.mark.parametrize(("form", "start"), [("png", b"\x89PNG"), ("jpeg", b"\xff\xd8"), ("webp", b"RIFF")])
def test_pictures_are_encoded_as_asked(service: Served, form: str, start: bytes) -> None:
    image = post(service, "/v1/generate", {**DOG, "format": form})["images"][0]
    assert base64.b64decode(image["image"]).startswith(start)


class CountingLimiter:
    """The real policy on a clock that stands still."""

    def __init__(self, limits: RateLimit) -> None:
        self.held = RateLimiter(limits)
        self.lock = threading.Lock()

    async def admit(self, client: Client, work: float) -> Refusal | None:
        with self.lock:
            return self.held.admit(client, work, 0.0)

    async def finished(self, client: Client, seconds: float, *, succeeded: bool) -> None:
        self.held.finished(client, seconds, 0.0, succeeded=succeeded)


def test_a_limit_answers_429_with_reason_and_wait(base: Path) -> None:
    limiter = CountingLimiter(RateLimit.model_validate({"ip": {"maxRequestsPerHour": 2}}))
    with served(base, limiter=limiter) as service:
        service.configure(defaults=DEFAULTS, trustedProxies=["0.0.0.0/0"])
        answers = [service.client.post("/v1/generate", json=DOG) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[-1].headers["retry-after"] == "3600"
        assert answers[-1].json()["reason"] == "IPRequestsPerHour"


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


def test_a_deployment_without_engines_says_so(base: Path) -> None:
    with served(base) as service:
        service.service.directory.config = RegistryConfig(replicas=0)
        told = "The deployment has no engine replicas: spec.replicas is 0."
        ready = service.client.get("/ready")
        assert (ready.status_code, ready.json()["notes"]) == (503, [told])
        answer = service.client.post("/v1/generate", json=DOG)
        assert (answer.status_code, answer.json()["reason"], answer.json()["detail"]) == (503, "NoReplicas", told)
        assert answer.headers["retry-after"] == "60"


def test_what_keeps_engines_from_starting_is_told(base: Path) -> None:
    with served(base) as service:
        service.service.directory.notes = ["No GPU is free."]
        assert service.client.get("/ready").json()["notes"] == ["No GPU is free."]
        answer = service.client.post("/v1/generate", json=DOG)
        assert answer.json()["detail"] == "The base is not loaded yet. No GPU is free."


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


KEYED = {"defaults": DEFAULTS, "auth": {"apiKeys": {"name": "keys", "key": "TEST_API_KEYS"}}}


def key(name: str, *scopes: str) -> dict[str, Any]:
    return {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "scopes": list(scopes)}


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def test_with_keys_only_their_owners_may_ask(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_API_KEYS", json.dumps([key("anna", "generate", "compare"), key("berta", "generate")]))
    with served(base) as service:
        service.configure(**KEYED)
        ask = service.client.post
        assert ask("/v1/generate", json=DOG, headers=bearer("anna")).status_code == 200
        assert ask("/v1/generate", json=DOG, headers=bearer("berta")).status_code == 200
        assert (
            ask("/v1/compare", json=DOG, headers=bearer("berta")).json()["detail"] == "The API key is not for compare."
        )
        for headers in ({}, bearer("anne"), bearer(""), {"Authorization": "anna"}):
            for path in ("/v1/generate", "/v1/compare", "/v1/images/generations", "/infer", "/generate/"):
                assert ask(path, json={"prompt": "a dog"}, headers=headers).status_code in {401, 503}, path
            assert ask("/v1/generate", json=DOG, headers=headers).status_code == 401
        for path in ("/v1/models", "/v1/examples"):
            assert [service.client.get(path, headers=bearer(name)).status_code for name in ("berta", "anne")] == [
                200,
                401,
            ]
            assert service.client.get(path).json()["detail"] == "There is no API key."
        for path in ("/health", "/ping", "/ready", "/openapi.json"):
            assert service.client.get(path).status_code == 200


def test_the_document_tells_where_a_key_is_asked_for(base: Path) -> None:
    with served(base) as service:
        document = service.client.get("/openapi.json").json()
        asked = {path for path, methods in document["paths"].items() if "security" in next(iter(methods.values()))}
        assert document["paths"].keys() - asked == {"/health", "/metrics", "/metrics-lite", "/ping", "/ready"}
        assert document["components"]["securitySchemes"]["APIKey"]["scheme"] == "bearer"


@pytest.mark.parametrize(
    "held", [None, "", "[]", "{}", '[{"name": "anna", "sha256": "anna"}]', '[{"name": "a", "key": "secret"}]']
)
def test_keys_that_cannot_be_read_let_nobody_in_and_are_not_shown(
    base: Path, monkeypatch: pytest.MonkeyPatch, held: str | None
) -> None:
    monkeypatch.delenv("TEST_API_KEYS", raising=False)
    if held is not None:
        monkeypatch.setenv("TEST_API_KEYS", held)
    with served(base) as service:
        service.configure(**KEYED)
        answer = service.client.post("/v1/generate", json=DOG, headers=bearer("anna"))
        assert answer.status_code == 503
        assert "TEST_API_KEYS" in answer.json()["detail"]
        assert "secret" not in answer.text


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


def test_a_limiter_that_is_away_lets_nobody_in_but_costs_no_picture(base: Path) -> None:
    for from_the_start, status in ((True, 503), (False, 200)):
        with served(base, limiter=AwayLimiter(from_the_start=from_the_start)) as service:
            service.configure(defaults=DEFAULTS)
            assert service.client.post("/v1/generate", json=DOG).status_code == status


def test_an_adapter_that_is_replaced_is_served_until_the_new_one_is_there(
    base: Path, style: Path, tmp_path: Path
) -> None:
    other, may_load, asked = saved_adapter(tmp_path / "other", base, seed=2), threading.Event(), threading.Event()

    def fetch(uri: str) -> Path:
        if uri == "new":
            asked.set()
            assert may_load.wait(60)
            return other
        return style

    with served(base, fetch=fetch) as service:
        service.configure(adapters=[{"name": "style", "uri": "old"}], defaults=DEFAULTS)
        body = {**DOG, "adapter": "style"}
        old = post(service, "/v1/generate", body)["images"][0]["adapter_digest"]
        new = {"adapters": [{"name": "style", "uri": "new"}], "defaults": DEFAULTS}
        thread = threading.Thread(target=lambda: service.configure(**new))
        thread.start()
        assert asked.wait(60)
        assert post(service, "/v1/generate", body)["images"][0]["adapter_digest"] == old
        may_load.set()
        thread.join()
        assert post(service, "/v1/generate", {**DOG, "adapter": "style"})["images"][0]["adapter_digest"] not in {
            None,
            old,
        }


def test_an_adapter_that_has_failed_stays_failed_while_it_is_tried_again(service: Served, style: Path) -> None:
    adapters = [{"name": "style", "uri": str(style)}, {"name": "gone", "uri": "/nowhere"}]
    service.configure(adapters=adapters, defaults=DEFAULTS, examples=["owl"])
    assert service.keeper.facts["gone"].state == "Failed"
    service.configure(adapters=[{"name": "style"}], defaults=DEFAULTS)
    assert service.keeper.facts["style"].state == "Waiting"
    assert not service.engine.bank.loaded


def test_the_log_has_a_line_for_each_request_with_the_replys_id(
    service: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ray.serve.diptych")
    reply = post(service, "/v1/compare", {**DOG, "arms": [{}, {"adapter": "style"}]})
    record = vars(caplog.records[-1])
    assert record["request"] == reply["id"]
    assert (record["outcome"], record["sides"], record["rows"], record["steps"]) == ("Drawn", ("base", "style"), 4, 3)
    assert "a dog" not in caplog.text
    service.client.post("/v1/generate", json={**DOG, "steps": 140, "scheduler": "LCM"})
    assert vars(caplog.records[-1])["outcome"] == "SpecInvalid"


def test_pages_of_other_origins_may_call_when_the_deployment_says_so(service: Served) -> None:
    jobs, origins = JobBook(service.service), ["https://studio.example"]
    with TestClient(build_http(lambda: service.service, lambda: jobs, origins=origins)) as client:
        asked = {"Origin": "https://studio.example", "Access-Control-Request-Method": "POST"}
        allowed = client.options("/v1/compare", headers=asked)
        refused = client.options("/v1/compare", headers={**asked, "Origin": "https://elsewhere.example"})
    assert allowed.headers["access-control-allow-origin"] == "https://studio.example"
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in service.client.get("/health", headers=asked).headers


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/compare", DOG),
        ("/v1/grids", {"prompts": ["a dog"]}),
        ("/v1/jobs", {"compare": DOG}),
        ("/infer", {"prompt": "a dog"}),
    ],
    ids=["compare", "grids", "jobs", "infer"],
)
def test_comparisons_can_be_turned_off(service: Served, path: str, body: dict[str, Any]) -> None:
    service.service.directory.compares = False
    answer = service.client.post(path, json=body)
    assert (answer.status_code, answer.json()["reason"]) == (404, "CompareDisabled")
    assert service.client.post("/v1/generate", json=DOG).status_code == 200


def test_pictures_that_are_given_up_on_the_way_are_counted(service: Served) -> None:
    counted = list[tuple[float, bool]]()

    class Counting:
        async def admit(self, client: Client, work: float) -> Refusal | None:
            return None

        async def finished(self, client: Client, seconds: float, *, succeeded: bool) -> None:
            counted.append((seconds, succeeded))

    service.service.limiter = Counting()
    service.configure(limits={"requestTimeoutSeconds": 1}, defaults=DEFAULTS)
    with service.client.stream("POST", "/v1/generate", json={**DOG, "steps": 150, "n": 8, "stream": True}) as answer:
        assert "TimedOut" in answer.read().decode()
    assert counted[0][0] > 0


def test_all_pictures_of_a_request_are_drawn_where_only_the_first_has_room(service: Served) -> None:
    service.configure(limits={"maxQueue": 0}, defaults=DEFAULTS)
    assert len(post(service, "/v1/generate", {**DOG, "n": 8})["images"]) == 8
