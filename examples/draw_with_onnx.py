"""Draws with a folder that `diptych export --format onnx` has written: ONNX Runtime and a scheduler, no Diptych.

    diptych export job.yaml --format onnx -o noto-onnx
    python examples/draw_with_onnx.py noto-onnx "red apple" --seed 7 -o apple.png

Needs onnxruntime, diffusers, transformers and pillow. Guided as in Stable Diffusion, with DDIM.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from diffusers import DDIMScheduler
from numpy.typing import NDArray
from PIL import Image
from transformers import CLIPTokenizer

Array = NDArray[np.float32]
SESSIONS: dict[str, onnxruntime.InferenceSession] = {}


def run(folder: Path, part: str, **inputs: NDArray[np.generic]) -> Array:
    """Return what one part makes of its inputs; each is loaded once."""
    if part not in SESSIONS:
        SESSIONS[part] = onnxruntime.InferenceSession(folder / part / "model.onnx", providers=["CPUExecutionProvider"])
    output: Array = SESSIONS[part].run(None, inputs)[0]
    return output


def encode(folder: Path, prompts: list[str]) -> Array:
    """Return the embeddings of prompts."""
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    length = json.loads((folder / "text_encoder" / "config.json").read_text())["max_position_embeddings"]
    ids = tokenizer(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="np").input_ids
    return run(folder, "text_encoder", input_ids=ids.astype(np.int32))


def draw(folder: Path, prompt: str, *, seed: int, steps: int, guidance: float) -> Image.Image:
    """Return the picture of a prompt, in the size that the model was made for."""
    unet = json.loads((folder / "unet" / "config.json").read_text())
    vae = json.loads((folder / "vae_decoder" / "config.json").read_text())
    embeddings = encode(folder, ["", prompt])
    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
    scheduler.set_timesteps(steps)
    shape = (1, unet["in_channels"], unet["sample_size"], unet["sample_size"])
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        rows = scheduler.scale_model_input(latents, t).repeat(2, 1, 1, 1).numpy()
        time = np.array([t], dtype=np.float32)
        output = run(folder, "unet", sample=rows, timestep=time, encoder_hidden_states=embeddings)
        avoided, wanted = torch.from_numpy(output).chunk(2)
        latents = scheduler.step(avoided + guidance * (wanted - avoided), t, latents).prev_sample
    decoded = run(folder, "vae_decoder", latent_sample=latents.numpy() / np.float32(vae["scaling_factor"]))
    unit = (decoded[0] / 2 + 0.5).clip(0, 1)
    return Image.fromarray((unit * 255).round().astype(np.uint8).transpose(1, 2, 0))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("prompt")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--guidance", type=float, default=7.5)
    parser.add_argument("-o", "--output", type=Path, default=Path("drawn.png"))
    asked = parser.parse_args()
    picture = draw(asked.folder, asked.prompt, seed=asked.seed, steps=asked.steps, guidance=asked.guidance)
    picture.save(asked.output)
    print(asked.output)
