"""Jobs and idempotency keys over the HTTP API."""

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.adapters import saved_adapter
from support.services import Served, picture_of, served
from support.sse import Told, events_in
from support.tiny_models import make_pipeline
from support.waiting import until

pytestmark = pytest.mark.slow

DOG = {"prompt": "a dog", "seed": 7}
LONG = {"compare": {**DOG, "steps": 900}}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base = make_pipeline(tmp_path_factory.mktemp("base"))
    return base, saved_adapter(tmp_path_factory.mktemp("style"), base)


@pytest.fixture
def service(places: tuple[Path, Path]) -> Iterator[Served]:
    base, style = places
    with served(base) as service:
        adapters = [{"name": "style", "uri": str(style)}]
        limits = {"maxSteps": 1000}
        service.configure(adapters=adapters, defaults={"steps": 4, "guidanceScale": 2}, limits=limits)
        yield service


def start(service: Served, body: dict[str, Any]) -> str:
    answer = service.client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    return str(answer.headers["location"])


def look(service: Served, place: str) -> dict[str, Any]:
    values: dict[str, Any] = service.client.get(place).json()
    return values


def followed(service: Served, place: str) -> list[Told]:
    with service.client.stream("GET", f"{place}/events") as answer:
        return list(events_in(answer.iter_lines()))


@pytest.mark.parametrize(
    ("kind", "body"), [("generate", DOG), ("compare", DOG), ("grid", {"prompts": ["a dog"], "seeds": [7, 8]})]
)
def test_a_job_comes_to_what_the_plain_request_answers(service: Served, kind: str, body: dict[str, Any]) -> None:
    place = start(service, {kind: body})
    assert followed(service, place)[-1][0] == "done"
    job = look(service, place)
    plain = service.client.post(f"/v1/{kind}{'s' if kind == 'grid' else ''}", json=body).json()
    assert job["state"] == "Succeeded"
    assert job["step"] == job["total"]
    told, said = list[NDArray[np.uint8]](), list[NDArray[np.uint8]]()
    assert without_pictures(job["result"], told) == without_pictures(plain, said)
    assert all(np.abs(np.subtract(one, other, dtype=int)).max() <= 1 for one, other in zip(told, said, strict=True))


def without_pictures(value: Any, pictures: list[NDArray[np.uint8]]) -> Any:
    """Return an answer without what changes from one to the next; its pictures, whose last bits may, are added."""
    if isinstance(value, list):
        return [without_pictures(item, pictures) for item in value]
    if not isinstance(value, dict):
        return value
    if "image" in value:
        pictures.append(picture_of(value["image"]))
    changing = ("id", "timing", "grid", "image")
    return {key: without_pictures(item, pictures) for key, item in value.items() if key not in changing}


def test_a_job_tells_its_steps_and_previews(service: Served) -> None:
    told = followed(service, start(service, {"compare": {**DOG, "steps": 200}, "preview_every": 50}))
    steps = [values["step"] for name, values in told if name == "progress"]
    assert steps == sorted(steps)
    assert steps[-1] == 200
    assert {len(values["images"]) for name, values in told if name == "preview"} == {2}


def test_who_comes_late_hears_the_end(service: Served) -> None:
    place = start(service, {"generate": DOG})
    until(lambda: look(service, place)["state"] == "Succeeded")
    told = followed(service, place)
    assert [name for name, _ in told] == ["done"]
    assert told[0][1]["images"][0]["seed"] == 7


def test_a_cancelled_job_frees_its_rows(service: Served) -> None:
    place = start(service, LONG)
    until(lambda: look(service, place)["step"] > 0)
    assert service.client.delete(place).json()["state"] == "Cancelled"
    until(lambda: service.engine.rows == 0)
    assert [name for name, _ in followed(service, place)] == ["cancelled"]
    assert look(service, place)["result"] is None
    assert service.client.delete(place).json()["state"] == "Cancelled"


def test_a_job_that_fails_says_why(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the GPU fell off")

    monkeypatch.setattr("diptych_serving.stepping.predict", broken)
    place = start(service, {"generate": DOG})
    until(lambda: look(service, place)["state"] == "Failed")
    assert look(service, place)["error"]["status"] == 500


@pytest.mark.parametrize(
    ("body", "word"),
    [({}, "exactly one"), ({"generate": DOG, "compare": DOG}, "exactly one"), ({"generate": {"prompt": 3}}, "prompt")],
    ids=["nothing", "two", "bad"],
)
def test_a_job_must_be_one_readable_request(service: Served, body: dict[str, Any], word: str) -> None:
    answer = service.client.post("/v1/jobs", json=body)
    assert answer.status_code == 422
    assert word in answer.text


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_unknown_job_is_not_found(service: Served, method: str) -> None:
    answer = service.client.request(method, "/v1/jobs/nothing")
    assert answer.status_code == 404
    assert "no job nothing" in answer.json()["detail"]
    assert service.client.get("/v1/jobs/nothing/events").status_code == 404


def test_a_repeated_request_is_drawn_once(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = list[str]()
    submit = service.engine.submit

    def counting(*args: Any, **options: Any) -> Any:
        drawn.append("one")
        return submit(*args, **options)

    monkeypatch.setattr(service.engine, "submit", counting)
    replies = list[dict[str, Any]]()

    def ask() -> None:
        answer = service.client.post("/v1/compare", json={"prompt": "a dog"}, headers={"Idempotency-Key": "one"})
        replies.append(answer.json())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drawn) == 1
    assert [reply == replies[0] for reply in replies] == [True] * 4
    assert len(replies[0]["images"]) == 2


def test_a_key_belongs_to_one_request(service: Served) -> None:
    headers = {"Idempotency-Key": "one"}
    assert service.client.post("/v1/compare", json=DOG, headers=headers).status_code == 200
    other = service.client.post("/v1/compare", json={**DOG, "seed": 8}, headers=headers)
    assert other.status_code == 409
    assert other.json()["reason"] == "IdempotencyKeyReused"


def test_a_refused_request_may_be_repeated_under_its_key(service: Served) -> None:
    headers = {"Idempotency-Key": "one"}
    service.configure(limits={"maxWorkUnits": 0.0001})
    assert service.client.post("/v1/compare", json=DOG, headers=headers).status_code == 413
    service.configure(limits={})
    assert service.client.post("/v1/compare", json=DOG, headers=headers).status_code == 200


def test_a_job_can_be_started_again_under_its_key(service: Served) -> None:
    answers = [
        service.client.post("/v1/jobs", json={"generate": DOG}, headers={"Idempotency-Key": "mine"}).json()["id"]
        for _ in range(2)
    ]
    assert answers[0] == answers[1]


def test_a_key_for_comparisons_alone_may_follow_its_job(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(b"secret").hexdigest()
    monkeypatch.setenv("KEYS", json.dumps([{"name": "anna", "sha256": digest, "scopes": ["compare"]}]))
    auth = {"apiKeys": {"name": "keys", "key": "KEYS"}}
    service.configure(auth=auth, defaults={"steps": 2, "guidanceScale": 2})
    service.client.headers["Authorization"] = "Bearer secret"
    place = start(service, {"compare": DOG})
    until(lambda: look(service, place).get("state") == "Succeeded")
    assert service.client.delete(place).status_code == 200
