"""A Stable Diffusion base: where it comes from, and its parts loaded from a folder of safetensors and JSON."""

from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from diptych_api.artifact import FOLDERS
from diptych_api.errors import BaseInvalid, UnsupportedHere
from diptych_api.runstore import ARTIFACT_FILE
from diptych_api.sources import Base
from diptych_diffusion.archives import base_from_archive
from diptych_diffusion.builtin import builtin_folder
from diptych_diffusion.components import Components
from diptych_diffusion.fetch import from_hub, from_store
from diptych_diffusion.fingerprint import folder_digest
from diptych_diffusion.model_files import check_config, load_model
from diptych_diffusion.safe_files import check_folder, read_json

__all__ = ["Components", "load", "resolve_base"]

CLASSES: Final = {
    "unet": {"diffusers.UNet2DConditionModel"},
    "vae": {"diffusers.AutoencoderKL"},
    "text_encoder": {"transformers.CLIPTextModel"},
    "tokenizer": {"transformers.CLIPTokenizer", "transformers.CLIPTokenizerFast"},
    "scheduler": {
        f"diffusers.{name}Scheduler"
        for name in (
            *("DDIM", "DDPM", "PNDM", "LCM", "TCD", "LMSDiscrete", "EulerDiscrete", "EulerAncestralDiscrete"),
            *("HeunDiscrete", "KDPM2Discrete", "KDPM2AncestralDiscrete", "DEISMultistep", "UniPCMultistep"),
            *("DPMSolverMultistep", "DPMSolverSinglestep"),
        )
    },
}


def resolve_base(base: Base, cache_dir: Path, *, with_checker: bool = False, only_configs: bool = False) -> Path:
    """Return a local folder with the base's files, downloading it below ``cache_dir`` where needed.

    An artifact's folder means the pipeline in it, as FromScratch leaves one.
    ``with_checker`` downloads its safety checker too, where it has one; ``only_configs`` leaves a hub's weights there.

    Raises:
        BaseInvalid, HubAuth, UnsupportedHere, RetryLater: see the message.

    """
    if base.builtin is not None:
        return builtin_folder(base.builtin)
    if base.hugging_face is not None:
        return from_hub(base.hugging_face, cache_dir, with_checker=with_checker, only_configs=only_configs)
    if base.uri is None:
        raise UnsupportedHere("A base on a volume (pvc) needs Kubernetes.", hint="Here, give the folder as uri.")
    if base.uri.startswith("https://"):
        return base_from_archive(base.uri, base.sha256, cache_dir, only_configs=only_configs)
    if "://" in base.uri and not base.uri.startswith("file://"):
        return from_store(base.uri, cache_dir, with_checker=with_checker)
    return _local(base.uri)


def _local(uri: str) -> Path:
    folder = Path(uri.removeprefix("file://")).expanduser()
    if (folder / ARTIFACT_FILE).is_file():
        folder /= FOLDERS["Pipeline"]
    if not folder.is_dir():
        raise BaseInvalid(f"The base {uri} is not a folder on this machine.", hint=f"Looked for {folder.absolute()}.")
    return folder


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


def check_index(folder: Path, *, need_unet: bool) -> None:
    """Raise BaseInvalid unless model_index.json describes a Stable Diffusion pipeline of parts that are known."""
    index = read_json(folder / "model_index.json")
    if index.get("_class_name") != "StableDiffusionPipeline":
        raise BaseInvalid(
            f"{folder / 'model_index.json'} describes a {index.get('_class_name')!r}.",
            hint="Diptych knows StableDiffusionPipeline: Stable Diffusion 1.x, 2.x and their kin.",
        )
    for part, allowed in CLASSES.items():
        if part == "unet" and not need_unet:
            continue
        entry = index.get(part)
        name = ".".join(map(str, entry)) if isinstance(entry, list) else str(entry)
        if name not in allowed:
            raise BaseInvalid(
                f"{folder / 'model_index.json'} gives {name} as {part}.", hint=f"Allowed: {', '.join(sorted(allowed))}."
            )


def load_tokenizer(place: Path) -> CLIPTokenizer:
    """Return the tokenizer in a folder. Raises BaseInvalid."""
    if not ((place / "tokenizer.json").is_file() or (place / "vocab.json").is_file()):
        raise BaseInvalid(f"{place} has neither tokenizer.json nor vocab.json.")
    if (place / "tokenizer_config.json").exists():
        check_config(place / "tokenizer_config.json")
    try:
        tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(place, local_files_only=True)
    except (OSError, ValueError, RuntimeError, LookupError, TypeError) as cause:
        raise BaseInvalid(f"{place} cannot be loaded: {cause}") from cause
    return tokenizer


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
