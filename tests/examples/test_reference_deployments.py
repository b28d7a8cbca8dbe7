"""The deployments of the reference systems draw what their jobs left, for the clients that these systems had."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from diptych_api.servingconfig import registry_config, wire
from diptych_cli.found_adapters import find_adapters
from diptych_diffusion.base_files import resolve_base
from support.counting_limiter import CountingLimiter
from support.recorded_run import diptych
from support.reference_systems import SERVED, SHIPPED, Systems, deployment_of
from support.services import Served, picture_of, served

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Systems:
    return Systems(tmp_path_factory.mktemp("systems"))


@contextmanager
def serving(systems: Systems, system: str, base: Sequence[str] = SHIPPED) -> Iterator[Served]:
    """Serve a system's deployment with the adapter that its job left, as `diptych serve` finds it."""
    systems.ended(system)
    spec = deployment_of(system, *base, *SERVED).spec
    adapters = find_adapters(spec, systems.folder / "runs/local")
    folder = resolve_base(spec.base, systems.folder)
    with served(folder, limiter=CountingLimiter(spec.rate_limit)) as service:
        service.configure(**wire(registry_config(spec, adapters)))
        yield service


def test_astronomy_answers_its_old_clients_five_times_a_session(systems: Systems) -> None:
    with serving(systems, "astronomy") as service:
        body = {"prompt": "a ringed gas giant", "steps": 2, "seed": "1234", "session_id": "visitor"}
        answers = [service.client.post("/infer", json=body) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        assert (answers[5].json()["reason"], answers[0].json()["status"]) == (
            *("SessionRequests", "LoRA applied successfully."),
        )
        pair = answers[0].json()
        assert not np.array_equal(picture_of(pair["base_image"]), picture_of(pair["lora_image"]))
        too_long = service.client.post("/infer", json=body | {"steps": 61, "session_id": "other"})
        assert too_long.status_code == 422
        assert service.client.get("/health").json() == {"status": "ok"}


def test_everyday_answers_with_the_original_or_the_fine_tuned_unet(systems: Systems) -> None:
    with serving(systems, "everyday") as service:
        body = {"prompt": "a cat on a windowsill", "num_inference_steps": 2, "seed": 42}
        kinds = ("original", "fine-tuned")
        drawn = [service.client.post("/generate/", json=body | {"model_type": kind}) for kind in kinds]
        assert [answer.headers["content-type"] for answer in drawn] == ["image/png"] * 2
        assert drawn[0].content != drawn[1].content
        assert service.client.post("/generate/", json=body | {"model_type": "other"}).status_code == 400


def test_flowers_draw_with_the_published_model_and_show_pictures_on_the_way(
    systems: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(systems.folder)
    assert diptych("publish", systems.ended("flowers").folder, "--anyway").exit_code == 0
    with serving(systems, "flowers", ["base.uri=published/flowers"]) as service:
        body = {"prompt": "a sunflower", "steps": 4, "stream": True, "preview_every": 2}
        lines = service.client.post("/v1/generate", json=body).text.splitlines()
        assert lines.count("event: preview") == 1, "after two of four steps"
        assert json.loads(lines[-2].removeprefix("data: "))["images"][0]["degraded"] is None


def test_flickr30k_draws_base_and_adapter_side_by_side(systems: Systems) -> None:
    with serving(systems, "flickr30k") as service:
        sides = compared(service, {"prompt": "man run on grass", "steps": 2, "seed": 1})
        assert [side["adapter"] for side in sides] == [None, "flickr30k"]
        assert not np.array_equal(picture_of(sides[0]["image"]), picture_of(sides[1]["image"]))


def test_pencil_has_its_words_as_a_style(systems: Systems) -> None:
    with serving(systems, "pencil") as service:
        cat = {"prompt": "a cat wearing neon-glasses", "seed": 1}
        plain, styled = (compared(service, cat | style)[1] for style in ({}, {"template": "pencil"}))
        assert not np.array_equal(picture_of(plain["image"]), picture_of(styled["image"]))


def compared(service: Served, body: dict[str, Any]) -> list[dict[str, Any]]:
    answer = service.client.post("/v1/compare", json=body)
    assert answer.status_code == 200, answer.text
    images: list[dict[str, Any]] = answer.json()["images"]
    return images
