"""The files of a base before any model is built of them: where they are, what they claim to be, and their digests."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from diptych_api.artifact import FOLDERS
from diptych_api.errors import BaseInvalid, UnsupportedHere
from diptych_api.sources import Base
from diptych_diffusion.archives import base_from_archive
from diptych_diffusion.builtin import builtin_folder
from diptych_diffusion.fetch import from_hub, from_store
from diptych_diffusion.fingerprint import folder_digest, weights_digest
from diptych_diffusion.folder_kinds import holds_forms
from diptych_diffusion.safe_files import check_folder, load_stored, read_json

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
STEMS: Final = {"text_encoder": "model", "unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}
"""How the weights of each part are called, without suffix."""
CODE_KEYS: Final = (
    "auto_map",
    "quantization_config",
    "attn_implementation",
    "_attn_implementation",
    "use_attention_mask",
)


def resolve_base(base: Base, cache_dir: Path, *, with_checker: bool = False, only_configs: bool = False) -> Path:
    """Return a local folder with the base's files, downloading it below ``cache_dir`` where needed.

    An artifact's folder means the pipeline in it, as FromScratch leaves one; published, its parts lie at the top.
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
    if holds_forms(lambda name: (folder / name).is_file()):
        folder /= FOLDERS["Pipeline"]
    if not folder.is_dir():
        raise BaseInvalid(f"The base {uri} is not a folder on this machine.", hint=f"Looked for {folder.absolute()}.")
    return folder


def part_digests(folder: Path, *, need_unet: bool = True) -> dict[str, str]:
    """Return the digest of each part's stored weights, and of the tokenizer's files; one part is in memory at a time.

    Raises:
        BaseInvalid: names the file that is missing or unsafe. Whether configs and weights fit shows only later.

    """
    check_folder(folder)
    check_index(folder, need_unet=need_unet)
    digests = {"tokenizer": folder_digest(folder / "tokenizer")}
    for part in STEMS:
        if part != "unet" or need_unet:
            check_config(folder / part / "config.json")
            digests[part] = weights_digest(load_stored(folder / part, stored_files(folder / part, STEMS[part])[1]))
    return digests


def whole_digest(digests: Mapping[str, str]) -> str:
    """Return the name of the weights of all parts together."""
    weights = [[part, digests[part]] for part in STEMS if part in digests]
    return hashlib.sha256(json.dumps(weights).encode()).hexdigest()


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


def check_config(path: Path) -> None:
    """Raise BaseInvalid for a config that asks for code or for arithmetic that is not followed."""
    config = read_json(path)
    if found := [key for key in CODE_KEYS if config.get(key)]:
        raise BaseInvalid(f"{path} sets {found[0]}, which Diptych does not follow.", hint="Save the model without it.")
    if (path.parent / "adapter_config.json").exists():
        raise BaseInvalid(f"{path.parent} is an adapter, not a model.", hint="Merge the adapter into its base first.")


def stored_files(place: Path, stem: str) -> tuple[str | None, list[str]]:
    """Return the variant and the names of the weight files: one, or the shards of an index. Raises BaseInvalid."""
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
