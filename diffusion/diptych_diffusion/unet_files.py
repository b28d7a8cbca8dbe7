"""A whole UNet on disk, to be drawn with beside a base whose VAE and text encoder it shares.

Either diffusers' ``unet`` folder, or a complete pipeline, as FullUNet leaves it, whose other parts are the base's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from diptych_api.errors import AdapterInvalid, BaseInvalid
from diptych_diffusion.components import Components
from diptych_diffusion.fingerprint import weights_digest
from diptych_diffusion.folder_kinds import INDEX
from diptych_diffusion.model_files import load_model
from diptych_diffusion.safe_files import check_folder, read_json
from diptych_diffusion.schedule import NoiseSchedule

SAME_INPUTS: Final = (
    *("in_channels", "out_channels", "cross_attention_dim"),
    *("class_embed_type", "addition_embed_type", "time_cond_proj_dim"),
)
HINT: Final = "Serve it as a base of its own: spec.base.uri."


@dataclass(frozen=True, slots=True, eq=False)
class UNetWeights:
    """A UNet in evaluation mode, on the CPU, in its base's dtype; ``digest`` is of its stored weights."""

    unet: UNet2DConditionModel
    digest: str


def is_unet(path: Path) -> bool:
    """Whether a folder holds a whole UNet, as far as its names tell, and not an adapter."""
    return (path / INDEX).is_file() or (path / "config.json").is_file()


def load_unet(path: Path, base: Components) -> UNetWeights:
    """Return the UNet in a folder, which takes what the base's takes.

    Raises:
        AdapterInvalid: for files that are unsafe, broken or not finite, another shape of input, or a pipeline whose
            VAE, text encoder or noise schedule are not the base's.

    """
    check_folder(path, error=AdapterInvalid)
    try:
        if (path / INDEX).is_file():
            _check_shared(path, base)
        place = path / "unet" if (path / INDEX).is_file() else path
        unet, digest = load_model(place, UNet2DConditionModel, base.denoiser.dtype)
    except BaseInvalid as cause:
        raise AdapterInvalid(cause.message, hint=cause.hint) from cause
    for name in SAME_INPUTS:
        found, wanted = unet.config.get(name), base.denoiser.config.get(name)
        if found != wanted:
            raise AdapterInvalid(f"{place} has {name} {found}, and the base {wanted}.", hint=HINT)
    for name, weight in unet.named_parameters():
        if not bool(torch.isfinite(weight).all()):
            raise AdapterInvalid(f"{place} holds numbers in {name} that are not finite.", hint="Save it in fp32.")
    return UNetWeights(unet.eval().requires_grad_(False), digest)


def _check_shared(path: Path, base: Components) -> None:
    parts: dict[str, nn.Module] = {"vae": base.vae, "text_encoder": base.text_encoder}
    for name, part in parts.items():
        model, _ = load_model(path / name, type(part), base.denoiser.dtype)
        if weights_digest(model) != weights_digest(part):
            raise AdapterInvalid(f"{path / name} is not the base's.", hint=HINT)
    own = NoiseSchedule.from_config(read_json(path / "scheduler" / "scheduler_config.json"))
    shared = NoiseSchedule.from_config(base.scheduler_config)
    is_same = own.prediction_type == shared.prediction_type
    if not (is_same and torch.equal(own.alphas_cumprod_T, shared.alphas_cumprod_T)):
        raise AdapterInvalid(f"{path / 'scheduler'} has another noise schedule than the base.", hint=HINT)
