"""A Stable Diffusion base: where it comes from, and its parts loaded from a folder of safetensors and JSON."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from huggingface_hub.errors import StrictDataclassError
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from diptych_api.errors import BaseInvalid, UnsupportedHere
from diptych_api.sources import Base
from diptych_diffusion.builtin import builtin_folder
from diptych_diffusion.components import Components
from diptych_diffusion.fetch import from_hub, from_store
from diptych_diffusion.fingerprint import folder_digest, weights_digest
from diptych_diffusion.safe_files import check_folder, load_stored, read_json

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
WEIGHTS_STEM: Final = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
CODE_KEYS: Final = (
    "auto_map",
    "quantization_config",
    "attn_implementation",
    "_attn_implementation",
    "use_attention_mask",
)


def resolve_base(base: Base, cache_dir: Path) -> Path:
    """Return a local folder with the base's files, downloading it below ``cache_dir`` where needed.

    Raises:
        BaseInvalid, HubAuth, UnsupportedHere, RetryLater: see the message.

    """
    if base.builtin is not None:
        return builtin_folder(base.builtin)
    if base.hugging_face is not None:
        return from_hub(base.hugging_face, cache_dir)
    if base.uri is None:
        raise UnsupportedHere("A base on a volume (pvc) needs Kubernetes.", hint="Here, give the folder as uri.")
    if "://" in base.uri and not base.uri.startswith("file://"):
        return from_store(base.uri, cache_dir)
    folder = Path(base.uri.removeprefix("file://")).expanduser()
    if not folder.is_dir():
        raise BaseInvalid(
            f"The base {base.uri} is not a folder on this machine.", hint=f"Looked for {folder.absolute()}."
        )
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
    _check_index(folder, need_unet=need_unet)
    models, digests = {}, {"tokenizer": folder_digest(folder / "tokenizer")}
    parts = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}
    for name, kind in parts.items():
        if name != "unet" or need_unet:
            model, digests[name] = _load_model(folder, name, kind, dtype)
            models[name] = model.to(device).eval().requires_grad_(False)
    components = Components(
        models.get("unet"),
        models["vae"],
        models["text_encoder"],
        _load_tokenizer(folder / "tokenizer"),
        read_json(folder / "scheduler" / "scheduler_config.json"),
        folder,
        digests,
    )
    _check_fit(components)
    return components


def _check_index(folder: Path, *, need_unet: bool) -> None:
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


def _load_model(folder: Path, part: str, kind: Any, dtype: torch.dtype) -> tuple[Any, str]:  # noqa: ANN401 - no common base class
    """Return a part and the digest of its stored weights."""
    place = folder / part
    _check_config(place / "config.json")
    variant, files = _stored_files(place, WEIGHTS_STEM[part])
    digest = weights_digest(load_stored(place, files))
    try:
        with no_progress_bar():
            model, found = kind.from_pretrained(
                place,
                dtype=dtype,
                variant=variant,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, StrictDataclassError) as cause:
        raise BaseInvalid(f"{place} cannot be loaded: {cause}") from cause
    for problem in ("missing_keys", "mismatched_keys", "error_msgs"):
        if cases := sorted(map(str, found[problem])):
            raise BaseInvalid(
                f"{place} has {len(cases)} {problem.replace('_', ' ')}, such as {cases[0]}.",
                hint="The weights and config.json do not belong together.",
            )
    return model, digest


def _check_config(path: Path) -> None:
    config = read_json(path)
    if found := [key for key in CODE_KEYS if config.get(key)]:
        raise BaseInvalid(f"{path} sets {found[0]}, which Diptych does not follow.", hint="Save the model without it.")
    if (path.parent / "adapter_config.json").exists():
        raise BaseInvalid(f"{path.parent} is an adapter, not a model.", hint="Merge the adapter into its base first.")


def _stored_files(place: Path, stem: str) -> tuple[str | None, list[str]]:
    """Return the variant and the names of the weight files: one, or the shards of an index."""
    for variant, dot in ((None, ""), ("fp16", ".fp16")):
        single, index = place / f"{stem}{dot}.safetensors", place / f"{stem}.safetensors.index{dot}.json"
        if single.is_file() and index.is_file():
            raise BaseInvalid(f"{place} holds both {single.name} and {index.name}.", hint="Remove one of them.")
        if single.is_file():
            return variant, [single.name]
        if index.is_file():
            shards = read_json(index).get("weight_map")
            if isinstance(shards, dict):
                return variant, sorted({str(name) for name in shards.values()})
    raise BaseInvalid(f"{place} has no {stem}.safetensors.", hint="Save the pipeline with safe_serialization=True.")


def _load_tokenizer(place: Path) -> CLIPTokenizer:
    if not ((place / "tokenizer.json").is_file() or (place / "vocab.json").is_file()):
        raise BaseInvalid(f"{place} has neither tokenizer.json nor vocab.json.")
    if (place / "tokenizer_config.json").exists():
        _check_config(place / "tokenizer_config.json")
    try:
        tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(place, local_files_only=True)
    except (OSError, ValueError, RuntimeError, LookupError, TypeError) as cause:
        raise BaseInvalid(f"{place} cannot be loaded: {cause}") from cause
    return tokenizer


def _check_fit(parts: Components) -> None:
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


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """Keep transformers' progress bar off the screen while the body runs."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
