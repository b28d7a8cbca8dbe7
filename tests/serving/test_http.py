"""What clients get over HTTP from a real engine, and what is told of a body that is no request."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from diptych_serving.http_api import build_http
from diptych_serving.jobs import JobBook
from support.http_requests import DEFAULTS, DOG, post
from support.services import Served, picture_of

pytestmark = pytest.mark.slow


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
    with TestClient(build_http(lambda: service.service, lambda: jobs, lambda: service, origins=origins)) as client:
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


def test_all_pictures_of_a_request_are_drawn_where_only_the_first_has_room(service: Served) -> None:
    service.configure(limits={"maxQueue": 0}, defaults=DEFAULTS)
    assert len(post(service, "/v1/generate", {**DOG, "n": 8})["images"]) == 8
