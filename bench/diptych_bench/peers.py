"""Ways to draw one prompt with base and adapter: ours, and those that unmodified diffusers and peft offer.

Each returns the final latents ``[2, C, h, w]``, the base's first, from the same noise. Encoding the prompt counts,
decoding does not: it is the same for all.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import StableDiffusionPipeline
from peft.tuners.lora import LoraLayer
from torch import Tensor

from diptych_diffusion.adapter_weights import AdapterWeights
from diptych_diffusion.components import Components
from diptych_diffusion.drawing_settings import Settings
from diptych_diffusion.drawings import advance, begin
from diptych_diffusion.onnx_base import load_onnx_unet
from diptych_diffusion.prompts import encode
from diptych_diffusion.slot_bank import SlotBank

PROMPT: Final = "a red apple"
SEED: Final = 7
OURS: Final = "one forward (Diptych)"
OURS_ONNX: Final = "one forward in ONNX Runtime (Diptych)"
TWO_PIPELINES: Final = "two pipelines, one after the other"
Draw = Callable[[], Tensor]


@dataclass(frozen=True, slots=True)
class Studio:
    """A base, an adapter for it and how to draw, in the forms that the peers need."""

    base: Path
    adapter: AdapterWeights
    adapter_file: Path
    components: Components
    settings: Settings

    def pipeline(self, *, tuned: bool) -> Any:  # noqa: ANN401 - diffusers is not typed
        """Return an unmodified pipeline."""
        unet = self.components.denoiser
        pipeline = StableDiffusionPipeline.from_pretrained(
            self.base, dtype=unet.dtype, local_files_only=True, use_safetensors=True
        ).to(unet.device)
        pipeline.set_progress_bar_config(disable=True)
        if tuned:
            folder = self.adapter_file.parent
            pipeline.load_lora_weights(str(folder), weight_name=self.adapter_file.name, adapter_name="tuned")
        return pipeline


def peers(studio: Studio) -> Mapping[str, Draw]:
    """Return every way by name, the reference systems' first and ours last."""
    fused = studio.pipeline(tuned=True)
    fused.fuse_lora()
    plain, toggled = studio.pipeline(tuned=False), studio.pipeline(tuned=True)
    ways = {
        TWO_PIPELINES: _in_turn(studio, plain, studio.pipeline(tuned=True)),
        "two pipelines, adapter fused": _in_turn(studio, plain, fused),
        "one pipeline, adapter off and on": _toggled(studio, toggled),
        "one pipeline, PEFT's mixed batch": _mixed(studio, studio.pipeline(tuned=True)),
        OURS: _ours(studio, SlotBank(studio.components.denoiser)),
    }
    if (plain.device.type, plain.unet.dtype) == ("cpu", torch.float32):
        backend = load_onnx_unet(studio.components, studio.base.parent)
        ways[OURS_ONNX] = _ours(studio, SlotBank(studio.components.denoiser, backend=backend))
    return ways


def _in_turn(studio: Studio, base: Any, tuned: Any) -> Draw:  # noqa: ANN401 - pipelines
    return lambda: torch.cat([_latents(studio, base), _latents(studio, tuned)])


def _toggled(studio: Studio, pipeline: Any) -> Draw:  # noqa: ANN401 - a pipeline
    def draw() -> Tensor:
        pipeline.disable_lora()
        base = _latents(studio, pipeline)
        pipeline.enable_lora()
        return torch.cat([base, _latents(studio, pipeline)])

    return draw


def _mixed(studio: Studio, pipeline: Any) -> Draw:  # noqa: ANN401 - a pipeline
    guided = studio.settings.rows

    def draw() -> Tensor:
        with _names(pipeline.unet, ["__base__", "tuned"] * guided):
            return _latents(studio, pipeline, pictures=2)

    return draw


@contextmanager
def _names(unet: Any, names: list[str]) -> Iterator[None]:  # noqa: ANN401 - a UNet with peft's layers
    """Tell every adapted layer which adapter each row takes, as peft's own PeftModel does."""

    def tell(_layer: object, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401 - a hook
        return args, {**kwargs, "adapter_names": names}

    layers: list[Any] = [layer for layer in unet.modules() if isinstance(layer, LoraLayer)]
    hooks = [layer.register_forward_pre_hook(tell, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _latents(studio: Studio, pipeline: Any, pictures: int = 1) -> Tensor:  # noqa: ANN401 - a pipeline
    settings = studio.settings
    latents: Tensor = pipeline(
        [PROMPT] * pictures,
        height=settings.height,
        width=settings.width,
        num_inference_steps=settings.steps,
        guidance_scale=settings.guidance_scale,
        generator=[torch.Generator().manual_seed(SEED) for _ in range(pictures)],
        output_type="latent",
    ).images
    return latents


def _ours(studio: Studio, bank: SlotBank) -> Draw:
    slot = bank.load("tuned", studio.adapter)
    texts = ["", PROMPT][-studio.settings.rows :]

    @torch.inference_mode()
    def draw() -> Tensor:
        embeddings_KLD = encode(studio.components, texts)
        sides = begin(studio.components, studio.settings, embeddings_KLD, SEED, [(None, 1.0), (slot, 1.0)])
        while not sides[0].is_finished:
            advance(studio.components.denoiser, sides, bank)
        return torch.cat([side.latents_1Chw for side in sides])

    return draw
