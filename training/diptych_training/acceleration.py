"""How a UNet computes: attention, checkpointing, memory format, compilation. What it computes stays the same."""

import torch
from diffusers import UNet2DConditionModel

from diptych_api.errors import UnsupportedHere
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_training.equipment import check_equipped


def accelerate(unet: UNet2DConditionModel, spec: FineTuneJobSpec) -> None:
    """Set the UNet up in place as the job asks; names of weights stay what they are.

    Raises:
        UnsupportedHere: when a library or a compiler is missing on this machine.

    """
    check_equipped(spec)
    training = spec.training
    _set_attention(unet, training.attention)
    if training.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    if training.channels_last:
        unet.to(memory_format=torch.channels_last)
    if training.compile == "Regional":  # the transformer blocks, which share their code
        unet.compile_repeated_blocks()
    if training.compile == "Whole":
        unet.compile()


def _set_attention(unet: UNet2DConditionModel, attention: str) -> None:
    """``auto`` and ``sdpa`` are PyTorch's own, which picks the fastest kernel that the machine and the shapes allow."""
    if attention == "sliced":
        unet.set_attention_slice("auto")
    if attention == "xformers":
        try:
            unet.enable_xformers_memory_efficient_attention()
        except (ImportError, ValueError, NotImplementedError) as cause:
            raise UnsupportedHere(
                f"spec.training.attention: xformers cannot be used here: {cause}".splitlines()[0],
                hint="Install xformers beside PyTorch on a machine with a GPU, or use sdpa, which needs neither.",
            ) from cause
