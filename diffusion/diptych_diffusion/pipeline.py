"""A Stable Diffusion base: its parts, loaded from a folder of safetensors and JSON."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

from diptych_api.errors import BaseInvalid
from diptych_diffusion.base_files import check_index
from diptych_diffusion.components import Components
from diptych_diffusion.fingerprint import folder_digest
from diptych_diffusion.model_files import load_model
from diptych_diffusion.safe_files import check_folder, read_json
from diptych_diffusion.tokenizer_files import load_tokenizer


def load(
    folder: Path, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu", need_unet: bool = True
) -> Components:
    """Return the parts of the diffusers pipeline in a folder, as ``dtype`` whatever their stored dtype.

    Where a part has both, full-precision files are preferred to fp16 ones. Without ``need_unet`` the folder may have
    no UNet; one that is there is left alone.

    Raises:
        BaseInvalid: names the file that is missing, unsafe or inconsistent.

    """
    check_folder(folder)
    check_index(folder, need_unet=need_unet)
    models, digests = {}, {"tokenizer": folder_digest(folder / "tokenizer")}
    parts = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}
    for name, kind in parts.items():
        if name != "unet" or need_unet:
            model, digests[name] = load_model(folder / name, kind, dtype)
            models[name] = model.to(device).eval().requires_grad_(False)
    components = Components(
        models.get("unet"),
        models["vae"],
        models["text_encoder"],
        load_tokenizer(folder / "tokenizer"),
        read_json(folder / "scheduler" / "scheduler_config.json"),
        folder,
        digests,
    )
    check_fit(components)
    return components


def check_fit(parts: Components) -> None:
    """Refuse parts that do not belong together, and UNets that want inputs which Diptych does not give."""
    text = parts.text_encoder.config
    facts: dict[str, tuple[object, object]] = {
        "tokens of the tokenizer within the text encoder's": (len(parts.tokenizer) <= text.vocab_size, True)
    }
    if parts.unet is not None:
        unet = parts.unet.config
        facts |= {
            "unet in_channels and vae latent_channels": (unet.in_channels, parts.latent_channels),
            "unet out_channels and in_channels": (unet.out_channels, unet.in_channels),
            "unet cross_attention_dim and text encoder hidden_size": (unet.cross_attention_dim, parts.embedding_dim),
            "unet class_embed_type": (unet.class_embed_type, None),
            "unet addition_embed_type": (unet.addition_embed_type, None),
            "unet time_cond_proj_dim": (unet.time_cond_proj_dim, None),
        }
    for what, (found, wanted) in facts.items():
        if found != wanted:
            raise BaseInvalid(f"{parts.folder}: {what}: {found}, not {wanted}.")
