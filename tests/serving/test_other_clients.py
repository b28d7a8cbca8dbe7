"""Clients that were written for other servers find what they know."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
from PIL import Image

from support.adapters import saved_adapter
from support.http_server import listening
from support.services import picture_of
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

SETTINGS = {"seed": 7, "num_inference_steps": 4, "guidance_scale": 2}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    base = make_pipeline(tmp_path_factory.mktemp("base"))
    with listening(base, saved_adapter(tmp_path_factory.mktemp("style"), base)) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def ai(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as ai:
        yield ai


def ours(client: httpx2.Client, **body: Any) -> str:
    how = {"prompt": "a dog", "seed": 7, "steps": 4, "guidance_scale": 2}
    image: str = client.post("/v1/generate", json=how | body).json()["images"][0]["image"]
    return image


def test_openai_draws_what_generate_draws(ai: openai.OpenAI, client: httpx2.Client) -> None:
    for model, adapter in (("tiny", None), ("noto", "noto")):
        answer = ai.images.generate(prompt="a dog", model=model, size="64x64", extra_body=SETTINGS)
        assert answer.data is not None
        assert answer.data[0].b64_json == ours(client, adapter=adapter)


def test_openai_counts_seeds_up_and_lists_models(ai: openai.OpenAI) -> None:
    answer = ai.images.generate(prompt="a dog", n=2, response_format="b64_json", extra_body=SETTINGS)
    assert answer.data is not None
    assert [image.model_dump()["seed"] for image in answer.data] == [7, 8]
    assert [model.id for model in ai.models.list()] == ["tiny", "noto", "gone"]
    assert [ai.models.retrieve(name).id for name in ("tiny", "noto")] == ["tiny", "noto"]
    with pytest.raises(openai.NotFoundError, match="There is no model nix"):
        ai.models.retrieve("nix")


def test_openai_streams_previews_and_the_picture(ai: openai.OpenAI, client: httpx2.Client) -> None:
    events = list(ai.images.generate(prompt="a dog", stream=True, partial_images=2, extra_body=SETTINGS))
    kinds = [event.type for event in events]
    assert kinds[-1] == "image_generation.completed"
    assert kinds[:-1] == ["image_generation.partial_image"] * 2
    assert events[-1].b64_json == ours(client)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"model": "nix"}, 404, None),
        ({"size": "big"}, 422, "size"),
        ({"size": "99999x8"}, 422, "size"),
        ({"response_format": "url"}, 422, "response_format"),
        ({"stream": True, "n": 2}, 422, "n"),
    ],
)
def test_openai_errors_have_its_shape(ai: openai.OpenAI, body: dict[str, Any], status: int, param: str | None) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        ai.images.generate(prompt="a dog", extra_body=body)
    assert caught.value.status_code == status
    assert caught.value.body["param"] == param  # type: ignore[index]


@pytest.mark.parametrize("seed", [7, "7", " 7 "], ids=repr)
def test_infer_answers_with_both_pictures(client: httpx2.Client, seed: int | str) -> None:
    body = {"prompt": "a dog", "steps": 4, "scale": 2, "seed": seed, "height": 64, "width": 64}
    answer = client.post("/infer", json=body).json()
    assert set(answer) == {"base_image", "lora_image", "status", "duration", "session_id"}
    assert answer["status"] == "LoRA applied successfully."
    assert np.abs(picture_of(answer["base_image"]).astype(int) - picture_of(ours(client))).max() <= 1
    assert np.abs(picture_of(answer["lora_image"]).astype(int) - picture_of(ours(client, adapter="noto"))).max() <= 1


def test_infer_gives_a_session_and_keeps_one(client: httpx2.Client) -> None:
    body = {"prompt": "a dog", "steps": 2}
    assert client.post("/infer", json=body).json()["session_id"].startswith("sid-")
    assert client.post("/infer", json={**body, "session_id": "mine"}).json()["session_id"] == "mine"


def test_generate_answers_with_a_png(client: httpx2.Client) -> None:
    for kind, adapter in (("original", None), ("fine-tuned", "noto")):
        body = {"prompt": "a dog", "model_type": kind, "num_inference_steps": 4, "guidance_scale": 2, "seed": 7}
        answer = client.post("/generate/", json=body)
        assert answer.headers["content-type"] == "image/png"
        assert answer.content == base64.b64decode(ours(client, adapter=adapter))
        with Image.open(io.BytesIO(answer.content)) as picture:
            assert picture.size == (64, 64)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/generate/", {"prompt": "x", "model_type": "other"}, 400),
        ("/generate/", {}, 422),
        ("/generate/", {"prompt": "x", "seed": "often"}, 422),
        ("/infer", {"prompt": "x", "steps": 0}, 422),
        ("/infer", {"prompt": "x", "seed": "9" * 40}, 422),
    ],
)
def test_other_bodies_are_refused(client: httpx2.Client, path: str, body: dict[str, Any], status: int) -> None:
    assert client.post(path, json=body).status_code == status


def test_openai_never_gets_a_base_picture_under_an_adapters_name(ai: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        ai.images.generate(prompt="a dog", model="gone", extra_body=SETTINGS)
    assert caught.value.status_code == 503
    with pytest.raises(openai.APIError, match="Adapter gone could not be loaded"):
        list(ai.images.generate(prompt="a dog", model="gone", stream=True, extra_body=SETTINGS))


def test_a_stream_that_cannot_begin_has_a_status_of_its_own(ai: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        ai.images.generate(prompt="a dog", model="nix", stream=True)


@pytest.mark.parametrize("seed", ['"\\ud800"', '"' + "0" * 20 + "9" * 30 + '"', '"' + "1" * 5000 + '"'], ids=len)
def test_a_hostile_seed_is_refused(client: httpx2.Client, seed: str) -> None:
    for path in ("/infer", "/generate/"):
        content = f'{{"prompt": "x", "seed": {seed}}}'
        answer = client.post(path, content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 422, answer.text
