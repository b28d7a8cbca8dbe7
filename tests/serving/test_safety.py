"""A flagged picture is shown to nobody: a tile stands for it, and every protocol says so."""

import base64
import io
import queue
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from diptych_diffusion.drawing_settings import Settings
from diptych_diffusion.pipeline import load
from diptych_serving.bodies import PicturesReply
from diptych_serving.engine import Engine
from diptych_serving.grpc_messages import pictures_message
from diptych_serving.image_request import Event, ImageRequest, Preview
from support.adapters import saved_adapter
from support.engines import until_finished
from support.services import Served, picture_of, served
from support.tiny_models import add_checker, make_pipeline

pytestmark = pytest.mark.slow

DOG = {"prompt": "a dog", "seed": 7}
BOTH = {**DOG, "arms": [{}, {"adapter": "style"}]}
DEFAULTS = {"steps": 2, "guidanceScale": 2}
GREY, LIGHTER, RED = (40, 40, 40), (60, 60, 60), (255, 0, 0)


class These:
    """A checker that flags pictures by their place."""

    def __init__(self, *flags: bool) -> None:
        self.flags = flags

    def flag(self, pictures: NDArray[np.uint8]) -> Sequence[bool]:
        return self.flags[: len(pictures)]


class Broken:
    """A checker that cannot tell."""

    def flag(self, pictures: NDArray[np.uint8]) -> Sequence[bool]:
        raise RuntimeError("out of order")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pipeline(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def style(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    return saved_adapter(tmp_path_factory.mktemp("style"), base)


def post(service: Served, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = service.client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    values: dict[str, Any] = answer.json()
    return values


def colour_of(picture: NDArray[np.uint8]) -> tuple[int, ...] | None:
    """Return the colour of a tile, or None for a picture."""
    colours = np.unique(picture.reshape(-1, 3), axis=0)
    return tuple(int(value) for value in colours[0]) if len(colours) == 1 else None


@pytest.mark.parametrize(("threshold", "flagged"), [(-2, True), (2, False)])
def test_the_checker_of_the_pipeline_decides(style: Path, tmp_path: Path, threshold: float, *, flagged: bool) -> None:
    with served(add_checker(make_pipeline(tmp_path), threshold=threshold)) as service:
        service.configure(adapters=[{"name": "style", "uri": str(style)}], defaults=DEFAULTS)
        reply = post(service, "/v1/compare", BOTH)
        assert service.client.get("/ready").json()["safety_checker"] is True
    assert [image["flagged"] for image in reply["images"]] == [flagged] * 2
    assert [colour_of(picture_of(image["image"])) for image in reply["images"]] == [GREY if flagged else None] * 2
    assert [image.flagged for image in pictures_message(PicturesReply(**reply)).images] == [flagged] * 2


def test_the_deployment_chooses_the_tile_and_may_turn_the_checker_off_while_serving(base: Path) -> None:
    with served(base, checker=These(True)) as service:
        service.configure(defaults=DEFAULTS, safety={"replacement": "#ff0000"})
        (image,) = post(service, "/v1/generate", DOG)["images"]
        assert (image["flagged"], colour_of(picture_of(image["image"]))) == (True, RED)
        service.configure(defaults=DEFAULTS, safety={"enabled": False})
        (image,) = post(service, "/v1/generate", DOG)["images"]
        assert (image["flagged"], colour_of(picture_of(image["image"]))) == (False, None)


def test_without_a_checker_every_picture_is_shown_and_ready_tells(base: Path) -> None:
    with served(base) as service:
        service.configure(defaults=DEFAULTS, safety={"enabled": True})
        assert service.client.get("/ready").json()["safety_checker"] is False
        assert post(service, "/v1/generate", DOG)["images"][0]["flagged"] is False


def test_one_arm_is_flagged_and_the_other_shown_also_in_the_grid(base: Path, style: Path) -> None:
    with served(base, checker=These(False, True)) as service:
        service.configure(adapters=[{"name": "style", "uri": str(style)}], defaults=DEFAULTS)
        reply = post(service, "/v1/compare", {**BOTH, "grid": True})
    plain, tuned = reply["images"]
    assert (plain["flagged"], tuned["flagged"]) == (False, True)
    assert (colour_of(picture_of(plain["image"])), colour_of(picture_of(tuned["image"]))) == (None, GREY)
    assert colour_of(picture_of(reply["grid"])[40:-20, -200:-60]) == GREY


APPLIED, LORA, BASE = "LoRA applied successfully.", "LoRA image flagged as NSFW.", "Base image flagged as NSFW."
SIDES: dict[str, tuple[tuple[bool, ...], tuple[object, object], str]] = {
    "neither": ((False, False), (None, None), APPLIED),
    "base": ((True, False), (GREY, None), f"{APPLIED} {BASE}"),
    "adapter": ((False, True), (None, LIGHTER), LORA),
    "both": ((True, True), (GREY, LIGHTER), f"{LORA} {BASE}"),
}


@pytest.mark.parametrize("case", SIDES)
def test_infer_answers_as_it_always_did(base: Path, style: Path, case: str) -> None:
    flags, colours, status = SIDES[case]
    with served(base, checker=These(*flags)) as service:
        service.configure(adapters=[{"name": "style", "uri": str(style)}], defaults=DEFAULTS)
        reply = post(service, "/infer", {"prompt": "a dog", "steps": 2})
    assert tuple(colour_of(picture_of(reply[side])) for side in ("base_image", "lora_image")) == colours
    assert reply["status"] == status


def test_generate_warns_and_the_openai_shape_says_flagged(base: Path) -> None:
    with served(base, checker=These(True)) as service:
        service.configure(defaults=DEFAULTS)
        answer = service.client.post("/generate/", json={"prompt": "a dog", "model_type": "original"})
        assert answer.headers["x-warning"] == "The picture was flagged as NSFW."
        assert colour_of(np.array(Image.open(io.BytesIO(answer.content)))) == GREY
        (data,) = post(service, "/v1/images/generations", {"prompt": "a dog"})["data"]
        assert data["flagged"] is True
        assert colour_of(picture_of(data["b64_json"])) == GREY


def test_the_file_itself_says_that_it_is_a_tile(base: Path) -> None:
    with served(base, checker=These(True)) as service:
        service.configure(defaults=DEFAULTS)
        (image,) = post(service, "/v1/generate", DOG)["images"]
    with Image.open(io.BytesIO(base64.b64decode(image["image"]))) as file:
        assert '"flagged": true' in str(file.info["diptych"])


def test_a_checker_that_fails_lets_no_picture_out(base: Path) -> None:
    with served(base, checker=Broken()) as service:
        service.configure(defaults=DEFAULTS)
        answer = service.client.post("/v1/generate", json=DOG)
        assert answer.status_code == 500
        assert "image" not in answer.text


def test_previews_are_checked_too(base: Path) -> None:
    request = ImageRequest("a dog", 5, Settings(64, 64, steps=4), preview_every=2)
    inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
    with Engine(load(base), These(True)) as engine:
        engine.submit(replace(request), inbox.put)
        told, _ = until_finished(inbox)
    (preview,) = (event for event in told if isinstance(event, Preview))
    assert colour_of(preview.pictures[0]) == GREY
