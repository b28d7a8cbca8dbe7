"""Tiny random Stable Diffusion pipelines: complete folders, milliseconds a step, no download."""

import json
from pathlib import Path
from typing import Literal

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPConfig, CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

MAX_TOKENS = 16
WIDTH = 32


def byte_vocabulary() -> dict[str, int]:
    """Return the 514 tokens of a CLIP vocabulary without merges: each byte, each byte at a word's end, start, end."""
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(tokens)}


def make_pipeline(
    folder: Path,
    *,
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = "epsilon",
    zero_terminal_snr: bool = False,
    latent_channels: int = 4,
    sample_size: int = 64,
    seed: int = 0,
) -> Path:
    """Write a random pipeline for pictures of ``sample_size`` pixels to ``folder`` and return the folder.

    The same arguments give the same bytes. The VAE divides by 8, the UNet has 32 and 64 channels, prompts hold
    14 bytes. A zero-terminal-SNR pipeline samples from the last timestep on (trailing), others as SD 1.x does.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet, vae, text_encoder = _unet(latent_channels, sample_size // 8), _vae(latent_channels), _text_encoder()
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=CLIPTokenizer(vocab=byte_vocabulary(), merges=[], model_max_length=MAX_TOKENS),
        unet=unet,
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
            prediction_type=prediction_type,
            rescale_betas_zero_snr=zero_terminal_snr,
            timestep_spacing="trailing" if zero_terminal_snr else "leading",
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(byte_vocabulary()), encoding="utf-8")
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return folder


def add_checker(folder: Path, *, threshold: float) -> Path:
    """Write a random safety checker into a pipeline's folder, in the form of Stable Diffusion 1.x.

    A picture is flagged when its cosine to one of 17 concepts is above ``threshold``: -2 flags all, 2 none.
    """
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(vision_config={**vision, "image_size": 32, "patch_size": 8}, projection_dim=16)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        checker = StableDiffusionSafetyChecker(config)
        for kind in ("concept", "special_care"):
            getattr(checker, f"{kind}_embeds").normal_()
            getattr(checker, f"{kind}_embeds_weights").fill_(threshold)
    checker.save_pretrained(folder / "safety_checker")
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        folder / "feature_extractor"
    )
    index = json.loads((folder / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def _unet(latent_channels: int, latent_size: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=latent_size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
    )


def _vae(latent_channels: int) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=4,
        sample_size=64,
    )


def _text_encoder() -> CLIPTextModel:
    vocabulary = byte_vocabulary()
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
        pad_token_id=vocabulary["<|endoftext|>"],
    )
    return CLIPTextModel(config)
