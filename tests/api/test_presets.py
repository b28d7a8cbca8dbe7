from typing import Any

import pytest
from pydantic import ValidationError

from diptych_api.finetunejob import PRESET_METHODS, FineTuneJobSpec
from diptych_api.presets import PRESETS, resolve
from diptych_api.wire import from_wire, to_wire


def spec(**fields: Any) -> FineTuneJobSpec:
    """Return a spec from plain values, as it stands in YAML."""
    needed = {"base": {"builtin": "tiny-emoji"}, "dataset": {"source": {"uri": "pictures"}}}
    return from_wire(FineTuneJobSpec, needed | fields)


def with_dataset(**fields: Any) -> dict[str, Any]:
    return {"dataset": {"source": {"uri": "pictures"}, **fields}}


def test_a_spec_without_preset_stays_as_it_is() -> None:
    job = spec()
    assert resolve(job) is job


@pytest.mark.parametrize(
    ("preset", "rank", "alpha", "dropout"), [("lora-r4", 4, 4, 0.01), ("lora-r16", 16, 16, 0), ("style-r8", 8, 16, 0.1)]
)
def test_lora_presets_have_the_shape_of_their_sources(preset: str, rank: int, alpha: float, dropout: float) -> None:
    job = resolve(spec(preset=preset))
    assert (job.method, job.lora.rank, job.lora.alpha, job.lora.dropout) == ("LoRA", rank, alpha, dropout)
    assert set(job.lora.target_modules) == {"to_q", "to_k", "to_v", "to_out.0"}
    assert job.dataset.image.size == 512


def test_lora_r16_is_the_recipe_for_3000_steps_of_four() -> None:
    training = resolve(spec(preset="lora-r16")).training
    assert (training.steps, training.batch_size, training.warmup_steps, training.learning_rate) == (3000, 4, 200, 1e-4)
    assert (training.lr_schedule, training.precision, training.seed) == ("Constant", "bf16", 42)
    assert (training.checkpoint.every_steps, training.ema.enabled) == (500, False)


def test_style_r8_draws_as_distilled_bases_need_it() -> None:
    job = resolve(spec(preset="style-r8"))
    assert (job.evaluation.inference_steps, job.evaluation.guidance_scale) == (4, 0)
    assert (job.dataset.image.crop, job.training.epochs, job.training.early_stopping.patience) == ("Stretch", 30, 2)


@pytest.mark.parametrize("preset", [None, "lora-r16"])
@pytest.mark.parametrize("place", [{"huggingFace": {"repo": "stabilityai/sd-turbo"}}, {"uri": "bases/sd-turbo/"}])
def test_trap_7_a_distilled_base_is_evaluated_as_it_draws(preset: str | None, place: dict[str, Any]) -> None:
    base = {"huggingFace": place["huggingFace"] | {"revision": "a" * 40}} if "huggingFace" in place else place
    fields = {"base": base} | ({} if preset is None else {"preset": preset})
    job = resolve(spec(**fields))
    evaluation = job.evaluation
    assert (evaluation.inference_steps, evaluation.guidance_scale, evaluation.scheduler) == (4, 0, "Euler")
    assert resolve(job) == job
    own = resolve(spec(**fields, evaluation={"inferenceSteps": 1}))
    assert (own.evaluation.inference_steps, own.evaluation.guidance_scale) == (1, 0)


def test_flickr30k_full_draws_captions_anew_and_accumulates_eight() -> None:
    job = resolve(spec(preset="flickr30k-full"))
    assert (job.method, job.dataset.caption_policy, job.dataset.image.size) == ("FullUNet", "PerEpoch", 128)
    assert (job.training.batch_size, job.training.micro_batch_size, job.training.learning_rate) == (8, 1, 1e-6)
    assert (job.training.lr_schedule, job.training.max_grad_norm, job.training.epochs) == ("Cosine", 5, 3)


def test_flowers_scratch_fits_its_text_encoder() -> None:
    job = resolve(spec(preset="flowers-scratch"))
    assert job.unet is not None
    assert (job.unet.cross_attention_dim, job.unet.block_out_channels) == (768, [64, 128, 256])
    assert (job.dataset.split.train_range, job.dataset.split.validation_range) == ((0, 500), (500, 550))
    assert (job.training.caption_dropout, job.training.ema.decay) == (0.1, 0.9999)


@pytest.mark.parametrize("preset", PRESETS)
def test_resolving_keeps_the_presets_name_and_is_done_after_once(preset: str) -> None:
    once = resolve(spec(preset=preset))
    assert once.preset == preset
    assert resolve(once) == once
    assert from_wire(FineTuneJobSpec, to_wire(once)) == once


@pytest.mark.parametrize("preset", PRESETS)
def test_fields_that_were_set_win(preset: str) -> None:
    fields = {"training": {"batchSize": 2, "optimizer": {"epsilon": 1e-6}}, **with_dataset(image={"size": 64})}
    job = resolve(spec(preset=preset, **fields))
    assert (job.training.batch_size, job.training.optimizer.epsilon, job.dataset.image.size) == (2, 1e-6, 64)
    assert job.dataset.image.crop == resolve(spec(preset=preset)).dataset.image.crop


def test_a_value_equal_to_the_default_wins_when_it_was_set() -> None:
    assert resolve(spec(preset="lora-r4", lora={"rank": 16})).lora.rank == 16


def test_null_is_as_if_unset() -> None:
    assert resolve(spec(preset="lora-r4", training={"steps": None})).training.steps == 1000


@pytest.mark.parametrize(("preset", "way", "other"), [("lora-r4", "epochs", "steps"), ("style-r8", "steps", "epochs")])
def test_another_way_to_say_the_length_replaces_the_presets(preset: str, way: str, other: str) -> None:
    training = resolve(spec(preset=preset, training={way: 7})).training
    assert (getattr(training, way), getattr(training, other)) == (7, None)


def test_another_split_replaces_the_presets() -> None:
    split = resolve(spec(preset="flowers-scratch", **with_dataset(split={"count": 9}))).dataset.split
    assert (split.count, split.train_range, split.validation_range) == (9, None, None)


def test_one_range_keeps_the_presets_other() -> None:
    split = resolve(spec(preset="flowers-scratch", **with_dataset(split={"trainRange": [0, 9]}))).dataset.split
    assert (split.train_range, split.validation_range) == ((0, 9), (500, 550))


def test_a_presets_network_can_be_made_narrower() -> None:
    job = resolve(spec(preset="flowers-scratch", unet={"blockOutChannels": [32, 64, 64]}))
    assert job.unet is not None
    assert job.unet.block_out_channels == [32, 64, 64]
    assert len(job.unet.down_block_types) == 3


def test_a_network_that_does_not_fit_the_preset_is_refused_when_resolved() -> None:
    job = spec(preset="flowers-scratch", unet={"blockOutChannels": [32]})
    with pytest.raises(ValidationError, match="must have the same length"):
        resolve(job)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_decides_the_method_before_it_is_resolved(preset: str) -> None:
    job = spec(preset=preset)
    assert job.effective_method == resolve(job).method == PRESET_METHODS.get(job.preset or "lora-r4", "LoRA")


def test_another_method_than_the_presets_is_refused() -> None:
    with pytest.raises(ValidationError, match="leave method out"):
        spec(preset="flowers-scratch", method="LoRA")
