"""A UNet that a run has trained stands beside LoRA arms; a model from scratch is a base."""

import queue
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from diptych_api.artifact import files_digest
from diptych_api.errors import SpecInvalid
from diptych_api.sources import Base
from diptych_diffusion.base_files import resolve_base
from diptych_diffusion.drawing_settings import Settings
from diptych_diffusion.pipeline import load
from diptych_diffusion.slot_bank import SlotBank
from diptych_diffusion.unet_files import load_unet
from diptych_serving.engine import Engine
from diptych_serving.image_request import Arm, Event, ImageRequest
from diptych_training.artifact import verify_artifact
from support.adapters import random_adapter, saved_adapter
from support.engines import draw
from support.services import Served, picture_of, served
from support.trained_models import trained_artifact

pytestmark = pytest.mark.slow

DOG = {"prompt": "a dog", "seed": 7}
DEFAULTS = {"steps": 3, "guidanceScale": 2}
HOW = Settings(64, 64, steps=3, guidance_scale=2.0)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact of a FullUNet run; its base lies beside it."""
    return trained_artifact(tmp_path_factory.mktemp("full"), "FullUNet")


@pytest.fixture(scope="module")
def base(tuned: Path) -> Path:
    return next(folder / "base" for folder in tuned.parents if (folder / "base").is_dir())


@pytest.fixture(scope="module")
def style(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    return saved_adapter(tmp_path_factory.mktemp("style"), base)


@pytest.fixture
def service(base: Path, style: Path, tuned: Path) -> Iterator[Served]:
    with served(base) as service:
        adapters = [{"name": "style", "uri": str(style)}, {"name": "whole", "uri": str(tuned)}]
        service.configure(adapters=adapters, defaults=DEFAULTS)
        yield service


def by_diffusers(folder: Path) -> np.ndarray[Any, Any]:
    """Return what an unmodified pipeline makes of the same request."""
    pipeline: Any = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    drawn = pipeline(
        "a dog",
        num_inference_steps=3,
        guidance_scale=2.0,
        generator=torch.Generator().manual_seed(7),
        output_type="np",
    )
    return np.asarray(drawn.images[0] * 255).round().astype(int)


def test_base_lora_and_whole_unet_stand_side_by_side(service: Served, base: Path, tuned: Path) -> None:
    answer = service.client.post("/v1/compare", json=DOG)
    assert answer.status_code == 200, answer.text
    plain, _, whole = answer.json()["images"]
    assert (whole["adapter"], whole["degraded"]) == ("whole", None)
    assert whole["adapter_digest"] == f"sha256:{load(tuned / 'pipeline').digests['unet']}"
    assert np.abs(picture_of(plain["image"]) - by_diffusers(base)).max() <= 1
    assert np.abs(picture_of(whole["image"]) - by_diffusers(tuned / "pipeline")).max() <= 1
    assert not np.array_equal(picture_of(whole["image"]), picture_of(plain["image"]))


def test_models_tell_what_it_is_and_what_it_takes(service: Served, tuned: Path) -> None:
    facts = {model["id"]: model for model in service.client.get("/v1/models").json()["data"]}
    unet = load(tuned / "pipeline").denoiser
    assert (facts["whole"]["method"], facts["whole"]["rank"]) == ("FullUNet", None)
    assert facts["whole"]["bytes"] == sum(p.nbytes for p in unet.parameters()) > facts["style"]["bytes"] > 0
    assert (facts["style"]["method"], facts["style"]["rank"]) == ("LoRA", 4)


def test_a_strength_that_a_whole_unet_cannot_have_is_refused(service: Served) -> None:
    answer = service.client.post("/v1/generate", json={**DOG, "adapter": "whole", "strength": 0.5})
    assert answer.status_code == 422
    assert "Adapter whole is a whole UNet, which has no strength 0.5." in answer.json()["detail"]


def test_it_takes_a_slot_as_any_adapter_does(base: Path, tuned: Path) -> None:
    components = load(base)
    bank = SlotBank(components.denoiser, slots=1)
    bank.put(bank.prepared_unet("whole", load_unet(tuned / "pipeline", components)))
    with pytest.raises(Exception, match="no slot for adapter style: 1 are taken"):
        bank.load("style", random_adapter(base))


@pytest.mark.parametrize("part", ["pipeline", "pipeline/unet"])
def test_a_pipeline_and_a_bare_unet_are_served_too(base: Path, tuned: Path, part: str) -> None:
    with served(base) as service:
        service.configure(adapters=[{"name": "whole", "uri": str(tuned / part)}], defaults=DEFAULTS)
        assert service.keeper.facts["whole"].method == "FullUNet"


def test_a_published_model_has_its_parts_at_the_top_and_is_served_as_adapter_and_as_base(
    base: Path, tuned: Path, tmp_path: Path
) -> None:
    published = tmp_path / "published"
    shutil.copytree(tuned / "pipeline", published)
    shutil.copy(tuned / "artifact.json", published)
    fsspec.filesystem("memory").put(str(published), "/public/model", recursive=True)
    places = {"here": str(published), "stored": "memory://public/model"}
    with served(base) as service:
        service.configure(adapters=[{"name": name, "uri": uri} for name, uri in places.items()], defaults=DEFAULTS)
        facts = service.keeper.facts
        assert {name: facts[name].state for name in places} == dict.fromkeys(places, "Loaded"), facts
    whole = load(tuned / "pipeline").digest
    assert {load(resolve_base(Base(uri=uri), tmp_path)).digest for uri in places.values()} == {whole}


def test_the_digest_that_a_job_tells_is_that_of_its_artifact(base: Path, tuned: Path, tmp_path: Path) -> None:
    """As the operator passes it on from a job's status."""
    digest = files_digest(verify_artifact(tuned).files)
    fsspec.filesystem("memory").put(str(tuned), "/told/artifact", recursive=True)
    changed = tmp_path / "artifact"
    shutil.copytree(tuned, changed)
    with (changed / "pipeline" / "unet" / "config.json").open("a") as file:
        file.write(" ")
    places = {"here": str(tuned), "stored": "memory://told/artifact", "changed": str(changed)}
    with served(base) as service:
        adapters = [{"name": name, "uri": uri, "digest": digest} for name, uri in places.items()]
        service.configure(adapters=adapters, defaults=DEFAULTS)
        states = service.client.get("/ready").json()["adapters"]
    assert {name: state["state"] for name, state in states.items()} == {
        "here": "Loaded",
        "stored": "Loaded",
        "changed": "Failed",
    }
    assert "is not the file that artifact.json names" in states["changed"]["message"]


def test_an_artifact_in_a_store_is_copied_with_what_proves_that_it_fits(base: Path, tuned: Path) -> None:
    fsspec.filesystem("memory").put(str(tuned), "/whole/artifact", recursive=True)
    with served(base) as service:
        service.configure(adapters=[{"name": "whole", "uri": "memory://whole/artifact"}], defaults=DEFAULTS)
        assert service.keeper.facts["whole"].state == "Loaded", service.keeper.facts["whole"].message


def test_one_step_is_one_forward_for_each_network(base: Path, style: Path, tuned: Path) -> None:
    components = load(base)
    calls: list[int] = []
    with Engine(components, max_rows=12) as engine:
        whole = engine.bank.prepared_unet("whole", load_unet(tuned / "pipeline", components))
        engine.bank.put(whole)
        engine.bank.load("style", random_adapter(base))
        for unet in (components.denoiser, whole.unet):
            unet.register_forward_pre_hook(lambda _module, inputs: calls.append(len(inputs[0])))
        draw(engine, [ImageRequest("a dog", 7, HOW, arms=(Arm("whole"), Arm(), Arm("whole"), Arm("style")))])
    assert calls == [4, 4] * HOW.steps


def test_an_engine_refuses_the_strength_at_once(base: Path, tuned: Path) -> None:
    components, inbox = load(base), queue.SimpleQueue[Event]()
    with Engine(components) as engine:
        engine.bank.put(engine.bank.prepared_unet("whole", load_unet(tuned / "pipeline", components)))
        with pytest.raises(SpecInvalid, match=r"no strength -1"):
            engine.submit(ImageRequest("a dog", 7, HOW, arms=(Arm("whole", -1),)), inbox.put)


def test_a_model_from_scratch_serves_as_a_base(tmp_path: Path) -> None:
    artifact = trained_artifact(tmp_path / "scratch", "FromScratch")
    folder = resolve_base(Base(uri=str(artifact)), tmp_path / "cache")
    with served(folder) as service:
        service.configure(defaults=DEFAULTS)
        answer = service.client.post("/v1/generate", json=DOG)
        assert answer.status_code == 200, answer.text
    drawn = picture_of(answer.json()["images"][0]["image"])
    assert np.abs(drawn - by_diffusers(artifact / "pipeline")).max() <= 1
    fsspec.filesystem("memory").put(str(artifact), "/scratch/artifact", recursive=True)
    copy = resolve_base(Base(uri="memory://scratch/artifact"), tmp_path / "cache")
    assert load(copy).digest == load(folder).digest
