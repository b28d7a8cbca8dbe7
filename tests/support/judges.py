"""Tiny random networks of the classes that judge pictures, in the folders that people would give."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer, Dinov2Config, Dinov2Model

from diptych_training.vision.alexnet import Perceptual
from diptych_training.vision.inception import Inception
from support.tiny_models import MAX_TOKENS, byte_vocabulary

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def make_clip(folder: Path) -> Path:
    """Write a random CLIP of 32×32 pixels and 16 tokens."""
    vocabulary = byte_vocabulary()
    ends = {"bos_token_id": vocabulary["<|startoftext|>"], "eos_token_id": vocabulary["<|endoftext|>"]}
    text = {**SMALL, **ends, "vocab_size": len(vocabulary), "max_position_embeddings": MAX_TOKENS}
    config = CLIPConfig(text_config=text, vision_config={**SMALL, "image_size": 32, "patch_size": 8}, projection_dim=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        CLIPModel(config).save_pretrained(folder)
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=MAX_TOKENS).save_pretrained(folder)
    return folder


def make_dinov2(folder: Path) -> Path:
    """Write a random DINOv2 of 28×28 pixels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        config = Dinov2Config(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14)
        Dinov2Model(config).save_pretrained(folder)
    return folder


def make_inception(folder: Path) -> Path:
    """Write a random Inception v3."""
    return _saved(Inception, "inception_v3", folder)


def make_lpips(folder: Path) -> Path:
    """Write a random AlexNet whose heads weigh nothing less than zero, as those of LPIPS."""
    return _saved(Perceptual, "lpips_alex", folder)


def _saved(kind: type[nn.Module], name: str, folder: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = kind()
    state = {key: w.abs() if key.startswith("lin") else w for key, w in network.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": name}), encoding="utf-8")
    return folder
