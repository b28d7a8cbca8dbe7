from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from diptych_api.after import Scheduler
from diptych_api.errors import BaseInvalid, Interrupted, SpecInvalid, UnsupportedHere
from diptych_diffusion.pipeline import load
from diptych_diffusion.sampler import SampleRequest, decode, sample, sample_latents
from diptych_diffusion.schedulers import CLASSES, make_scheduler
from support.tiny_models import make_pipeline

# diffusers makes numpy arrays of tensors, and torch's Tensor.__array__ does not take numpy 2's copy argument.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]

REQUEST = SampleRequest(prompts=("a red apple", "a dog"), seeds=(3, 4), negative_prompts="blue", steps=4)


class Base:
    """A tiny base, as we load it and as an unmodified diffusers pipeline."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.components = load(folder)
        self.pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        self.pipeline.set_progress_bar_config(disable=True)

    def expected(self, request: SampleRequest, output_type: str = "latent") -> Any:
        """Return what the unmodified pipeline draws."""
        own = {"skip_prk_steps": True} if request.scheduler == "PNDM" else {}
        config = load(self.folder, need_unet=False).scheduler_config
        self.pipeline.scheduler = CLASSES[request.scheduler].from_config(config, **own)
        return self.pipeline(
            list(request.prompts),
            negative_prompt=list(request.negatives),
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            eta=request.eta,
            height=request.height,
            width=request.width,
            generator=[torch.Generator().manual_seed(seed) for seed in request.seeds],
            output_type=output_type,
        ).images


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return Base(make_pipeline(tmp_path_factory.mktemp("epsilon")))


@pytest.fixture(scope="module")
def zero_snr_base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    folder = tmp_path_factory.mktemp("zero-snr")
    return Base(make_pipeline(folder, prediction_type="v_prediction", zero_terminal_snr=True, latent_channels=8))


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("scheduler", CLASSES)
def test_latents_equal_those_of_an_unmodified_pipeline(base: Base, scheduler: Scheduler) -> None:
    request = replace(REQUEST, scheduler=scheduler)
    assert relative_error(sample_latents(base.components, request), base.expected(request)) <= 1e-5


@pytest.mark.parametrize("scheduler", [name for name in CLASSES if name != "PNDM"])
def test_the_bases_prediction_type_zero_snr_and_spacing_are_followed(zero_snr_base: Base, scheduler: Scheduler) -> None:
    request = replace(REQUEST, scheduler=scheduler)
    assert relative_error(sample_latents(zero_snr_base.components, request), zero_snr_base.expected(request)) <= 1e-5
    made = make_scheduler(zero_snr_base.components.scheduler_config, scheduler, 4)
    assert made.timesteps[0] == 999


def test_pictures_equal_those_of_an_unmodified_pipeline(base: Base) -> None:
    request = replace(REQUEST, eta=0.5, height=48, width=80, guidance_scale=3.0)
    pictures = sample(base.components, request)
    expected = base.expected(request, "np")
    assert pictures.shape == (2, 48, 80, 3)
    assert pictures.dtype == np.uint8
    assert np.abs(pictures - (expected * 255).round()).max() <= 1
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() > 1


@pytest.mark.parametrize("scheduler", ["DDIM", "EulerAncestral", "LCM"])
def test_a_picture_does_not_depend_on_who_shares_its_batch(base: Base, scheduler: Scheduler) -> None:
    together = replace(REQUEST, prompts=("a", "b", "c"), seeds=(7, 8, 9), scheduler=scheduler)
    alone = replace(REQUEST, prompts=("b",), seeds=(8,), scheduler=scheduler)
    drawn = sample_latents(base.components, together)
    assert relative_error(sample_latents(base.components, alone)[0], drawn[1]) <= 1e-5
    assert relative_error(sample_latents(base.components, replace(together, max_rows=2)), drawn) <= 1e-5


def test_another_seed_gives_another_picture_and_the_same_seed_the_same(base: Base) -> None:
    drawn = sample_latents(base.components, replace(REQUEST, prompts=("a",) * 3, seeds=(1, 2, 1)))
    assert relative_error(drawn[0], drawn[2]) <= 1e-5
    assert relative_error(drawn[1], drawn[0]) > 0.1


def test_rows_are_bounded_and_guidance_of_one_costs_one_row(base: Base) -> None:
    rows: list[int] = []
    unet = base.components.denoiser
    hook = unet.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    request = replace(REQUEST, prompts=("a", "b", "c"), seeds=(1, 2, 3), steps=1, max_rows=4)
    sample_latents(base.components, request)
    sample_latents(base.components, replace(request, guidance_scale=1.0))
    sample_latents(base.components, replace(request, max_rows=1))
    hook.remove()
    assert rows == [4, 2, 3, 2, 2, 2]


def test_guidance_of_one_equals_an_unmodified_pipeline(base: Base) -> None:
    request = replace(REQUEST, guidance_scale=1.0)
    assert relative_error(sample_latents(base.components, request), base.expected(request)) <= 1e-5


def test_a_bfloat16_base_draws_nearly_the_same_picture_from_float32_noise(base: Base) -> None:
    rough = load(base.folder, dtype=torch.bfloat16)
    latents = sample_latents(rough, replace(REQUEST, guidance_scale=2.0))
    assert latents.dtype == torch.float32
    assert relative_error(latents, base.expected(replace(REQUEST, guidance_scale=2.0))) < 0.1


def test_steps_are_told_over_all_batches_and_telling_can_stop(base: Base) -> None:
    heard: list[tuple[int, int]] = []

    def stop_at_five(done: int, steps: int) -> None:
        heard.append((done, steps))
        if done == 5:
            raise Interrupted("enough")

    base.components.denoiser.train()
    with pytest.raises(Interrupted):
        sample(base.components, replace(REQUEST, max_rows=2), stop_at_five)
    assert heard == [(done, 8) for done in range(1, 6)]
    assert base.components.denoiser.training
    base.components.denoiser.eval()


def test_modes_are_left_as_they_were_found_and_dropout_is_off_meanwhile(base: Base) -> None:
    components = load(base.folder)
    block = components.denoiser.mid_block
    for dropout in (part for part in components.denoiser.modules() if isinstance(part, torch.nn.Dropout)):
        dropout.p = 0.5
    components.denoiser.train()
    block.eval()
    drawn = sample_latents(components, REQUEST)
    assert torch.equal(drawn, sample_latents(base.components, REQUEST))
    assert components.denoiser.training
    assert not block.training
    assert not components.text_encoder.training


def test_weights_that_were_sampled_from_can_still_be_trained(base: Base) -> None:
    components = load(base.folder)
    sample(components, replace(REQUEST, steps=1))
    unet = components.denoiser.requires_grad_(True)
    unet(torch.zeros(1, 4, 8, 8), 0, encoder_hidden_states=torch.zeros(1, 16, 32)).sample.sum().backward()
    assert unet.conv_in.bias.grad is not None


def test_many_latents_are_decoded_like_few(base: Base) -> None:
    latents = torch.randn(9, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    together = decode(base.components, latents)
    apart = np.concatenate([decode(base.components, part[None]) for part in latents])
    assert np.abs(together.astype(int) - apart).max() <= 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompts": ()},
        {"seeds": (1,)},
        {"negative_prompts": ("a",)},
        {"height": 60},
        {"width": -8},
        {"steps": 0},
        {"steps": 1001},
        {"scheduler": "LCM", "steps": 51},
        {"scheduler": "Euler", "eta": 0.5},
    ],
)
def test_requests_that_cannot_be_drawn_are_refused(base: Base, wrong: dict[str, Any]) -> None:
    with pytest.raises(SpecInvalid):
        sample(base.components, replace(REQUEST, **wrong))


def test_schedulers_that_cannot_follow_the_base_are_refused(zero_snr_base: Base, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedHere, match="PNDM"):
        sample(zero_snr_base.components, replace(REQUEST, scheduler="PNDM"))
    sample_config = {**zero_snr_base.components.scheduler_config, "prediction_type": "sample"}
    with pytest.raises(UnsupportedHere, match="EulerAncestral"):
        make_scheduler(sample_config, "EulerAncestral", 4)


def test_latents_are_not_clipped_when_the_base_says_nothing_of_clipping() -> None:
    silent = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    schedulers: tuple[Scheduler, ...] = ("DDIM", "LCM")
    for name in schedulers:
        assert not make_scheduler(silent, name, 4).config.clip_sample
        assert make_scheduler({**silent, "clip_sample": True}, name, 4).config.clip_sample


def test_a_base_without_a_unet_draws_nothing(base: Base) -> None:
    with pytest.raises(BaseInvalid, match="has no unet"):
        sample(load(base.folder, need_unet=False), replace(REQUEST, height=64, width=64))
