"""A base without its weights: every part in its full shape on the meta device, from JSON files alone."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from diptych_api.errors import BaseInvalid
from diptych_diffusion.base_files import check_config, check_index
from diptych_diffusion.components import Components
from diptych_diffusion.pipeline import check_fit
from diptych_diffusion.safe_files import read_json
from diptych_diffusion.tokenizer_files import load_tokenizer


def load_skeleton(folder: Path, *, need_unet: bool = True) -> Components:
    """Return the parts of the pipeline in a folder, which take no memory and compute shapes only.

    Raises:
        BaseInvalid: names the file that is missing or inconsistent.

    """
    check_index(folder, need_unet=need_unet)
    for part in ("unet", "vae", "text_encoder") if need_unet else ("vae", "text_encoder"):
        check_config(folder / part / "config.json")
    try:
        with torch.device("meta"):
            unet = UNet2DConditionModel.from_config(read_json(folder / "unet" / "config.json")) if need_unet else None
            vae = AutoencoderKL.from_config(read_json(folder / "vae" / "config.json"))
            text_encoder = CLIPTextModel(CLIPTextConfig(**read_json(folder / "text_encoder" / "config.json")))
    except (ValueError, RuntimeError, LookupError, TypeError, AttributeError) as cause:
        raise BaseInvalid(f"The shapes in {folder} cannot be built: {cause}") from cause
    components = Components(
        unet,
        vae,
        text_encoder,
        load_tokenizer(folder / "tokenizer"),
        read_json(folder / "scheduler" / "scheduler_config.json"),
        folder,
        {},
    )
    check_fit(components)
    return components
