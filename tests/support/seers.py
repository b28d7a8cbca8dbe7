"""Tiny random networks of the classes that write captions, in the folders that people would give."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    CLIPImageProcessorPil,
    Florence2Config,
    Florence2ForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from diptych_training.captioning.provider import Shown

SMALL: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
LOUD: dict[str, Any] = {"initializer_range": 0.5}
"""Weights large enough that different pictures get different words."""
START, END, PAD, IMAGE = "<s>", "</s>", "<pad>", "<image>"


def shown(key: str, width: int, height: int) -> Shown:
    """Return a picture of noise as captioners see it."""
    pixels = np.random.default_rng(len(key)).integers(0, 255, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return Shown(key, file.getvalue())


def _tokenizer(folder: Path, *special: str, image: str = IMAGE) -> PreTrainedTokenizerFast:
    """Write a tokenizer of bytes and special tokens."""
    names = [START, END, PAD, image, *special]
    letters = {token: index for index, token in enumerate([*names, *sorted(ByteLevel.alphabet())])}
    inner = Tokenizer(BPE(vocab=letters, merges=[]))
    inner.pre_tokenizer, inner.decoder = ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    inner.add_special_tokens(names)
    if image == IMAGE:
        inner.post_processor = TemplateProcessing(single=f"{START} $A {END}", special_tokens=[(START, 0), (END, 1)])
    tokens = {"bos_token": START, "eos_token": END, "pad_token": PAD, "extra_special_tokens": {"image_token": image}}
    made = PreTrainedTokenizerFast(tokenizer_object=inner, **tokens)
    made.save_pretrained(folder)
    return made


def make_blip(folder: Path) -> Path:
    """Write a random BLIP of 32×32 pixels."""
    tokens = _tokenizer(folder)
    ends = {"bos_token_id": 0, "eos_token_id": 1, "sep_token_id": 1, "pad_token_id": 2}
    text = {**SMALL, **ends, "vocab_size": len(tokens), "max_position_embeddings": 128, "encoder_hidden_size": 32}
    vision = {**SMALL, "image_size": 32, "patch_size": 8}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        config = BlipConfig(text_config=text | LOUD, vision_config=vision | LOUD, **LOUD)
        BlipForConditionalGeneration(config).save_pretrained(folder)
    BlipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def make_florence2(folder: Path) -> Path:
    """Write a random Florence-2 of 64×64 pixels, which are five tokens."""
    tokens = _tokenizer(folder)
    text = {
        "vocab_size": len(tokens),
        "d_model": 32,
        **{
            f"{side}_{what}": n
            for side in ("encoder", "decoder")
            for what, n in (("layers", 1), ("attention_heads", 2))
        },
        **{f"{side}_ffn_dim": 64 for side in ("encoder", "decoder")},
        "max_position_embeddings": 256,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
        "decoder_start_token_id": 1,
        "forced_eos_token_id": 1,
    }
    vision = {
        "depths": (1, 1, 1, 1),
        "embed_dim": (8, 8, 16, 16),
        "num_heads": (2, 2, 2, 2),
        "num_groups": (2, 2, 2, 2),
        "window_size": 4,
        "projection_dim": 32,
        "drop_path_rate": 0.0,
    }
    config = Florence2Config(
        text_config=text | {"init_std": 0.5}, vision_config=vision | LOUD, image_token_id=3, **LOUD
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        Florence2ForConditionalGeneration(config).save_pretrained(folder)
    see: Any = CLIPImageProcessorPil(size={"height": 64, "width": 64}, crop_size={"height": 64, "width": 64})
    see.image_seq_length = 5
    see.save_pretrained(folder)
    return folder


def make_qwen2_vl(folder: Path, width: int = 32) -> Path:
    """Write a random Qwen2-VL; ``width`` is a multiple of 16, for four bits of 64."""
    tokens = _tokenizer(
        folder, "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", image="<|image_pad|>"
    )
    ids: dict[str, Any] = {
        "image_token_id": 3,
        "vision_start_token_id": 6,
        "vision_end_token_id": 7,
        "video_token_id": 300,
    }
    heads = width // 16
    text = {
        **SMALL,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "vocab_size": len(tokens) + 64,
        "max_position_embeddings": 512,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0},
    }
    vision = {
        "depth": 1,
        "embed_dim": width,
        "hidden_size": width,
        "num_heads": heads,
        "patch_size": 14,
        "mlp_ratio": 2,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        config = Qwen2VLConfig(text_config=text | LOUD, vision_config=vision | LOUD, **ids, **LOUD)
        Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    Qwen2VLImageProcessorPil(size={"shortest_edge": 28 * 28, "longest_edge": 56 * 56}).save_pretrained(folder)
    return folder
