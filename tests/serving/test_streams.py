"""Streams and grids over the HTTP API: what is told on the way, and that it ends as the plain answer does."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych_api.limits import RateLimit
from support.adapters import saved_adapter
from support.counting_limiter import CountingLimiter
from support.services import Served, picture_of, served
from support.sse import Told, events_in
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

DOG = {"prompt": "a dog", "seed": 7}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base = make_pipeline(tmp_path_factory.mktemp("base"))
    return base, saved_adapter(tmp_path_factory.mktemp("style"), base)


@pytest.fixture
def service(places: tuple[Path, Path]) -> Iterator[Served]:
    base, style = places
    with served(base) as service:
        adapters = [{"name": "style", "uri": str(style)}]
        service.configure(adapters=adapters, defaults={"steps": 4, "guidanceScale": 2})
        yield service


def streamed(service: Served, path: str, body: dict[str, Any]) -> list[Told]:
    with service.client.stream("POST", path, json={**body, "stream": True}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        return list(events_in(answer.iter_lines()))


def test_a_stream_tells_each_step_and_ends_with_the_reply(service: Served) -> None:
    told = streamed(service, "/v1/compare", DOG)
    assert [values["step"] for name, values in told if name == "progress"] == [1, 2, 3, 4]
    assert {values["total"] for name, values in told if name == "progress"} == {4}
    plain = service.client.post("/v1/compare", json=DOG).json()
    name, last = told[-1]
    assert name == "done"
    assert [image["image"] for image in last["images"]] == [image["image"] for image in plain["images"]]


def test_previews_show_every_side(service: Served) -> None:
    told = streamed(service, "/v1/compare", {**DOG, "preview_every": 2})
    previews = [values for name, values in told if name == "preview"]
    assert [preview["step"] for preview in previews] == [2]
    left, right = (picture_of(image) for image in previews[0]["images"])
    assert left.shape == right.shape == picture_of(told[-1][1]["images"][0]["image"]).shape
    assert not np.array_equal(left, right)


def test_each_picture_of_a_stream_has_its_number(service: Served) -> None:
    told = streamed(service, "/v1/generate", {**DOG, "n": 2})
    steps = {(values["picture"], values["step"]) for name, values in told if name == "progress"}
    assert steps == {(number, step) for number in (0, 1) for step in (1, 2, 3, 4)}


def test_a_stream_over_a_limit_is_refused_before_it_begins(places: tuple[Path, Path]) -> None:
    limiter = CountingLimiter(RateLimit.model_validate({"total": {"maxRequestsPerHour": 1}}))
    with served(places[0], limiter=limiter) as service:
        service.configure(defaults={"steps": 2})
        assert streamed(service, "/v1/generate", DOG)[-1][0] == "done"
        again = service.client.post("/v1/generate", json={**DOG, "stream": True})
        openai = service.client.post("/v1/images/generations", json={"prompt": "a dog", "stream": True})
    assert (again.status_code, openai.status_code) == (429, 429)
    assert again.json()["reason"] == "TotalRequestsPerHour"
    assert int(openai.headers["retry-after"]) > 0


def test_a_failure_on_the_way_is_the_last_event(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the GPU fell off")

    monkeypatch.setattr("diptych_serving.stepping.predict", broken)
    told = streamed(service, "/v1/compare", DOG)
    assert [name for name, _ in told] == ["error"]
    assert told[0][1]["status"] == 500
    assert "GPU" not in told[0][1]["detail"]


def test_a_grid_has_a_row_for_each_prompt_and_seed(service: Served) -> None:
    body = {"prompts": ["a dog", "a cat"], "seeds": [7, 8], "arms": [{}, {"adapter": "style"}]}
    answer = service.client.post("/v1/grids", json=body)
    assert answer.status_code == 200, answer.text
    reply = answer.json()
    asked = [(row["settings"]["prompt"], row["images"][0]["seed"]) for row in reply["rows"]]
    assert asked == [("a dog", 7), ("a dog", 8), ("a cat", 7), ("a cat", 8)]
    assert all([image["adapter"] for image in row["images"]] == [None, "style"] for row in reply["rows"])
    compared = service.client.post("/v1/compare", json={"prompt": "a cat", "seed": 8, "arms": body["arms"]}).json()
    for mine, theirs in zip(reply["rows"][3]["images"], compared["images"], strict=True):
        assert np.abs(picture_of(mine["image"]).astype(int) - picture_of(theirs["image"])).max() <= 1
    with Image.open(io.BytesIO(base64.b64decode(reply["grid"]))) as sheet:
        width, height = sheet.size
    assert height > 4 * 256 > width - 160


def test_a_grid_that_is_too_large_is_refused(service: Served) -> None:
    answer = service.client.post("/v1/grids", json={"prompts": ["a dog"] * 64, "seeds": list(range(64))})
    assert answer.status_code == 422
    assert "pictures are more than" in answer.json()["detail"]


def test_a_grid_can_be_streamed(service: Served) -> None:
    told = streamed(service, "/v1/grids", {"prompts": ["a dog", "a cat"], "seed": 7})
    assert {values["picture"] for name, values in told if name == "progress"} == {0, 1}
    assert len(told[-1][1]["rows"]) == 2
