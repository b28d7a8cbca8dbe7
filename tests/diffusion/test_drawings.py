"""Pictures of different requests in one batch, equal to those that an unmodified pipeline draws one by one."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from diptych_api.artifact import BaseRecord
from diptych_api.errors import SpecInvalid
from diptych_api.training import LoRA
from diptych_diffusion.adapter_files import save_diffusers
from diptych_diffusion.adapter_weights import AdapterWeights
from diptych_diffusion.components import Components
from diptych_diffusion.drawing_settings import Settings
from diptych_diffusion.drawings import Drawing, advance, begin
from diptych_diffusion.lora import adapter_state, inject, trainable
from diptych_diffusion.onnx_base import load_onnx_unet
from diptych_diffusion.pipeline import load
from diptych_diffusion.prompts import encode
from diptych_diffusion.schedulers import CLASSES
from diptych_diffusion.slot_bank import SlotBank
from diptych_diffusion.unet_files import load_unet
from support.tiny_models import make_pipeline

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # graphs take minutes to make on a busy machine
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),  # two adapters are meant
]

BASE = BaseRecord(source="huggingFace:somebody/model", revision="0" * 40, digest="sha256:" + "ab" * 32)
BOUND = 1e-5
PROMPTS = ("a red apple", "a dog", "blue tea")
LORAS = {"one": LoRA(rank=4, alpha=4), "two": LoRA(rank=4, alpha=8), "dora": LoRA(rank=4, alpha=8, use_dora=True)}


@dataclass(frozen=True)
class Studio:
    """A base with a few adapters and a whole UNet loaded, and the same as unmodified diffusers pipelines."""

    components: Components
    bank: SlotBank
    pipeline: StableDiffusionPipeline
    whole: StableDiffusionPipeline

    def begin(self, picture: "Picture") -> Drawing:
        """Return a picture at its start."""
        texts = ["", picture.prompt][-picture.settings.rows :]
        slot = self.bank.loaded.get(picture.adapter)
        adapters = [(slot, picture.strength)]
        with torch.inference_mode():
            embeddings = encode(self.components, texts)
        return begin(self.components, picture.settings, embeddings, picture.seed, adapters)[0]

    def expected(self, picture: "Picture") -> Tensor:
        """Return the latents that the unmodified pipeline draws."""
        own = {"skip_prk_steps": True} if picture.settings.scheduler == "PNDM" else {}
        pipeline = self.whole if picture.adapter == "whole" else self.pipeline
        pipeline.scheduler = CLASSES[picture.settings.scheduler].from_config(self.components.scheduler_config, **own)
        if picture.adapter in LORAS:
            self.pipeline.enable_lora()
            self.pipeline.set_adapters([picture.adapter], [picture.strength])
        else:
            self.pipeline.disable_lora()
        result: Any = pipeline(
            picture.prompt,
            num_inference_steps=picture.settings.steps,
            guidance_scale=picture.settings.guidance_scale,
            eta=picture.settings.eta,
            generator=torch.Generator().manual_seed(picture.seed),
            output_type="latent",
        )
        latents: Tensor = result.images
        return latents


@dataclass(frozen=True)
class Picture:
    """What one request asks for."""

    settings: Settings
    prompt: str = PROMPTS[0]
    seed: int = 5
    adapter: str = ""
    strength: float = 1.0


@pytest.fixture(scope="module", params=["PyTorch", "ONNX"])
def studio(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    folder = make_pipeline(tmp_path_factory.mktemp("base"))
    components = load(folder)
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    backend = load_onnx_unet(components, tmp_path_factory.mktemp("cache")) if request.param == "ONNX" else None
    bank = SlotBank(deepcopy(components.denoiser), backend=backend)
    for number, (name, lora) in enumerate(LORAS.items(), start=1):
        weights = _adapter(components, number, lora)
        bank.load(name, weights)
        file = save_diffusers(tmp_path_factory.mktemp(name), weights)
        pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=name)
    other = make_pipeline(tmp_path_factory.mktemp("whole"), seed=4) / "unet"
    bank.put(bank.prepared_unet("whole", load_unet(other, components)))
    unet = UNet2DConditionModel.from_pretrained(other, local_files_only=True)
    whole = StableDiffusionPipeline.from_pretrained(folder, unet=unet, local_files_only=True, use_safetensors=True)
    whole.set_progress_bar_config(disable=True)
    return Studio(components, bank, pipeline, whole)


def _adapter(components: Components, seed: int, lora: LoRA) -> AdapterWeights:
    unet = deepcopy(components.denoiser)
    inject(unet, lora, seed=seed)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in trainable(unet):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
    return AdapterWeights.of(adapter_state(unet), lora, BASE)


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def finish(studio: Studio, drawings: list[Drawing]) -> None:
    """Draw all to their ends together; each leaves the batch when it is finished."""
    while going := [drawing for drawing in drawings if not drawing.is_finished]:
        advance(studio.bank.unet, going, studio.bank)


@pytest.mark.parametrize("scheduler", CLASSES)
def test_a_mixed_batch_draws_what_an_unmodified_pipeline_draws_one_by_one(studio: Studio, scheduler: Any) -> None:
    pictures = [
        Picture(Settings(64, 64, 4, 7.5, scheduler)),
        Picture(Settings(64, 64, 4, 7.5, scheduler), adapter="one"),
        Picture(Settings(64, 64, 3, 2.0, scheduler), PROMPTS[1], 6, "two", 0.5),
        Picture(Settings(64, 64, 5, 1.0, scheduler), PROMPTS[2], 7, "one", -1.0),
        Picture(Settings(64, 64, 4, 3.0, "DDIM", eta=0.7), PROMPTS[2], 8, "two"),
        Picture(Settings(64, 64, 4, 4.0, scheduler), PROMPTS[1], 9, "whole"),
        Picture(Settings(64, 64, 3, 3.0, scheduler), PROMPTS[0], 10, "dora", 0.5),
    ]
    drawings = [studio.begin(picture) for picture in pictures]
    finish(studio, drawings)
    errors = [error(d.latents_1Chw, studio.expected(p)) for d, p in zip(drawings, pictures, strict=True)]
    assert max(errors) <= BOUND, errors


def test_all_schedulers_in_one_batch_draw_what_an_unmodified_pipeline_draws_one_by_one(studio: Studio) -> None:
    arms = [("", 1.0), ("one", 1.0), ("two", 0.5), ("dora", 1.0), ("whole", 1.0)]
    pictures = [
        Picture(Settings(64, 64, 4 + number % 2, 3.0, scheduler), PROMPTS[number % 3], number, *arm)
        for number, scheduler in enumerate(CLASSES)
        for arm in arms
    ]
    drawings = [studio.begin(picture) for picture in pictures]
    finish(studio, drawings)
    errors = [error(d.latents_1Chw, studio.expected(p)) for d, p in zip(drawings, pictures, strict=True)]
    assert max(errors) <= BOUND, errors


def test_arms_share_the_noise_and_differ_by_the_adapter_alone(studio: Studio) -> None:
    how = Settings(64, 64, 3, 2.0, "EulerAncestral")
    slots = studio.bank.loaded
    with torch.inference_mode():
        embeddings = encode(studio.components, ["", "a dog"])
    adapters = [(None, 1.0), (slots["one"], 1.0), (slots["one"], 0.0)]
    base, tuned, zero = begin(studio.components, how, embeddings, 11, adapters)
    assert base.latents_1Chw.equal(tuned.latents_1Chw)
    finish(studio, [base, tuned, zero])
    assert error(zero.latents_1Chw, base.latents_1Chw) <= BOUND
    assert error(tuned.latents_1Chw, base.latents_1Chw) > 1e-2


def settings_of(scheduler: Any, steps: int, guidance_scale: float, eta: float) -> Settings:
    return Settings(64, 64, steps, guidance_scale, scheduler, eta if scheduler == "DDIM" else 0.0)


PICTURES = st.builds(
    Picture,
    settings=st.builds(
        settings_of,
        scheduler=st.sampled_from(sorted(CLASSES)),
        steps=st.integers(1, 5),
        guidance_scale=st.sampled_from([1.0, 3.0]),
        eta=st.sampled_from([0.0, 0.7]),
    ),
    prompt=st.sampled_from(PROMPTS),
    seed=st.integers(0, 3),
    adapter=st.sampled_from(["", "one", "two", "dora", "whole"]),
    strength=st.sampled_from([1.0, 0.5]),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrivals=st.lists(st.tuples(st.integers(0, 4), PICTURES), min_size=2, max_size=4))
def test_a_picture_does_not_depend_on_its_batch_mates(studio: Studio, arrivals: list[tuple[int, Picture]]) -> None:
    """Whoever comes and goes beside it, a picture is the unmodified pipeline's, and the one that is drawn alone."""
    waiting = [(step, studio.begin(picture)) for step, picture in arrivals]
    for now in range(10):
        going = [drawing for step, drawing in waiting if step <= now and not drawing.is_finished]
        if going:
            advance(studio.bank.unet, going, studio.bank)
    for (_, picture), (_, drawing) in zip(arrivals, waiting, strict=True):
        alone = studio.begin(picture)
        finish(studio, [alone])
        assert error(drawing.latents_1Chw, alone.latents_1Chw) <= BOUND
        assert error(drawing.latents_1Chw, studio.expected(picture)) <= BOUND


def test_a_number_of_steps_that_the_scheduler_cannot_take_is_refused(studio: Studio) -> None:
    with pytest.raises(SpecInvalid, match="LCM takes 1 to 50 steps with this base, not 51"):
        studio.begin(Picture(Settings(64, 64, 51, 1.0, "LCM")))
