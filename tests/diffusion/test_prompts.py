import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from diptych_diffusion.components import Components
from diptych_diffusion.pipeline import load
from diptych_diffusion.prompts import encode, is_truncated, tokenize
from support.tiny_models import MAX_TOKENS, WIDTH, make_pipeline

PROMPTS = ["", "a red apple", "ÄPFEL, 3", "a prompt that is much too long for sixteen tokens"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pipeline(tmp_path_factory.mktemp("prompts"))


@pytest.fixture(scope="module")
def components(folder: Path) -> Components:
    return load(folder)


def test_embeddings_equal_those_of_an_unmodified_pipeline(folder: Path, components: Components) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    with torch.no_grad():
        expected, empty = pipeline.encode_prompt(PROMPTS, "cpu", 1, do_classifier_free_guidance=True)
        found = encode(components, PROMPTS)
    assert found.shape == (len(PROMPTS), MAX_TOKENS, WIDTH)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    assert torch.equal(found[:1], empty[:1])


def test_embeddings_of_a_bfloat16_encoder_are_float32_and_close(folder: Path, components: Components) -> None:
    with torch.no_grad():
        exact, rough = encode(components, PROMPTS), encode(load(folder, dtype=torch.bfloat16, need_unet=False), PROMPTS)
    assert rough.dtype == torch.float32
    assert (rough - exact).norm() / exact.norm() < 0.05


def test_a_text_encoder_that_is_trained_gets_gradients(folder: Path) -> None:
    components = load(folder, need_unet=False)
    components.text_encoder.requires_grad_(True)
    encode(components, ["a red apple"]).square().sum().backward()
    gradients = [p.grad for name, p in components.text_encoder.named_parameters() if "position_embedding" not in name]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)


def test_tokens_are_cut_and_padded_to_the_encoders_length(components: Components) -> None:
    ids = tokenize(components, PROMPTS)
    start, end = components.tokenizer.bos_token_id, components.tokenizer.eos_token_id
    assert ids.shape == (len(PROMPTS), MAX_TOKENS)
    assert (ids[:, 0] == start).all()
    assert (ids[:, -1] == end).all()
    assert (ids[0, 1:] == end).all()


def test_a_tokenizer_that_knows_no_length_is_held_to_the_encoders(components: Components) -> None:
    unbounded = type(components.tokenizer).from_pretrained(components.folder / "tokenizer", model_max_length=10**30)
    assert tokenize(replace(components, tokenizer=unbounded), PROMPTS).shape[1] == MAX_TOKENS


def test_a_prompt_is_truncated_from_the_first_token_too_many(
    components: Components, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert not is_truncated(components, "")
        assert not is_truncated(components, "a" * (MAX_TOKENS - 2))
        assert is_truncated(components, "a" * (MAX_TOKENS - 1))
    assert not caplog.records
