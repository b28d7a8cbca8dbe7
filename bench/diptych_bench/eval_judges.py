"""Pictures and the networks that judge them, with random weights: none can be had without a network of machines."""

import json
import math
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import PIL.Image
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from diptych_training.vision.alexnet import Perceptual
from diptych_training.vision.inception import Inception

N = TypeVar("N", bound=nn.Module)
WORDS: Final = ("red", "apple", "tower", "river", "a", "painting", "of", "two", "dogs", "under", "snow", "old", "lamp")
SURER: Final = 30
"""Or to random weights every class is as likely as any other, whatever the picture."""
ENDS: Final = {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}


def make_pictures(folder: Path, count: int, side: int, across: int, darkest: int) -> None:
    """Write pictures of noise over so many soft shapes across, none of them darker than told."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(across)
    for number in range(count):
        shapes = rng.integers(darkest, 256, (across, across, 3)).astype(np.uint8)
        soft = np.asarray(PIL.Image.fromarray(shapes).resize((side, side), PIL.Image.Resampling.BICUBIC), np.int16)
        noisy = soft + rng.normal(0, 8, soft.shape).astype(np.int16)
        PIL.Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:05}.png")


def make_prompts(file: Path, count: int) -> None:
    """Write a prompt for each picture, from two to nine words."""
    rng = np.random.default_rng(0)
    prompts = [" ".join(rng.choice(WORDS, rng.integers(2, 10))) for _ in range(count)]
    file.write_text(json.dumps(prompts), encoding="utf-8")


def make_networks(folder: Path) -> None:
    """Write Inception v3, LPIPS and a CLIP of ViT-B/32's shape, in the folders that a job names; no tokenizer yet."""
    torch.manual_seed(0)
    inception = _drawn(Inception())
    inception.fc.weight.data *= SURER
    _save(inception, "inception_v3", folder / "inception")
    _save(_drawn(Perceptual()), "lpips_alex", folder / "lpips")
    text = {**ENDS, "hidden_act": "quick_gelu"}
    config = CLIPConfig(text_config=text, vision_config={"hidden_act": "quick_gelu"}, projection_dim=512)
    CLIPModel(config).save_pretrained(folder / "clip")


def add_tokenizer(folder: Path) -> None:
    """Write the tokenizer of a vocabulary that lies in the folder."""
    words = json.loads((folder / "words.json").read_text(encoding="utf-8"))
    merges: Any = [tuple(merge) for merge in words["merges"]]
    CLIPTokenizer(vocab=words["vocabulary"], merges=merges, model_max_length=77).save_pretrained(folder)


def _drawn(network: N) -> N:
    """Return a network with random weights that keep the size of what passes through it."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.weight[0].numel()))
    return network


def _save(network: nn.Module, kind: str, folder: Path) -> None:
    """Save a network; heads of LPIPS are never negative."""
    state = {name: x.abs() if name.startswith("lin") else x for name, x in network.state_dict().items()}
    folder.mkdir(parents=True)
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": kind}), encoding="utf-8")
