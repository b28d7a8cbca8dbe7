"""Pictures in the making, each at its own step: rows of any of them go through the UNet together.

A picture keeps its own scheduler, timestep, noise, guidance and adapter, so pictures of different requests can join a
batch at any step and leave it at another, and none depends on its batch mates.

Shapes: K rows of one picture (2 with guidance: negative prompt, then prompt), R rows of one UNet call, C latent
channels, h and w sides in latents, L tokens, D text encoder width.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Generator, Tensor

from diptych_diffusion.components import Components
from diptych_diffusion.drawing_settings import Settings
from diptych_diffusion.held import Backend, Held, OwnUNet, Run, runs_of
from diptych_diffusion.schedulers import make_scheduler
from diptych_diffusion.slot_bank import SlotBank

Way = Callable[[Tensor, Tensor, Tensor, Sequence[Run]], Tensor]
"""Takes inputs, timesteps and embeddings of some rows, and the runs of them that have updates, through a UNet."""


@dataclass(slots=True)
class Drawing:
    """A picture in the making. Schedulers keep state, so each has its own."""

    settings: Settings
    embeddings_KLD: Tensor
    latents_1Chw: Tensor
    scheduler: Any
    generator: Generator
    slot: Held | None = None
    strength: float = 1.0
    done: int = 0
    extra: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        """Set up what the scheduler's step takes besides the prediction."""
        self.extra = {} if self.settings.scheduler == "PNDM" else {"generator": self.generator}
        if self.settings.scheduler == "DDIM":
            self.extra = {**self.extra, "eta": self.settings.eta}

    @property
    def own_unet(self) -> UNet2DConditionModel | None:
        """The UNet that draws in place of the base's."""
        return self.slot.unet if isinstance(self.slot, OwnUNet) else None

    @property
    def steps(self) -> int:
        """Passes through the UNet in all; PNDM takes one more than it was asked for."""
        return len(self.scheduler.timesteps)

    @property
    def is_finished(self) -> bool:
        """Whether the latents are final."""
        return self.done >= self.steps

    @property
    def timestep(self) -> Tensor:
        """The timestep of the next step, on the CPU."""
        t: Tensor = self.scheduler.timesteps[self.done]
        return t

    def inputs(self) -> Tensor:
        """Return what the UNet sees next, ``[1, C, h, w]``."""
        inputs_1Chw: Tensor = self.scheduler.scale_model_input(self.latents_1Chw, self.timestep)
        return inputs_1Chw

    def take(self, output_KChw: Tensor) -> None:
        """Do one step with the UNet's output, guided when there are two rows.

        Classifier-free guidance: Ho and Salimans, arXiv 2207.12598.
        """
        prediction_1Chw = output_KChw
        if self.settings.rows > 1:
            avoided_1Chw, wanted_1Chw = output_KChw.chunk(2)
            prediction_1Chw = avoided_1Chw + self.settings.guidance_scale * (wanted_1Chw - avoided_1Chw)
        self.latents_1Chw = self.scheduler.step(
            prediction_1Chw, self.timestep, self.latents_1Chw, return_dict=False, **self.extra
        )[0]
        self.done += 1


def begin(
    components: Components,
    settings: Settings,
    embeddings_KLD: Tensor,
    seed: int,
    adapters: Sequence[tuple[Held | None, float]] = ((None, 1.0),),
) -> list[Drawing]:
    """Return one drawing for each adapter and its strength, all from the same prompt and the same noise.

    Raises:
        SpecInvalid: for a number of steps that the scheduler cannot take.
        UnsupportedHere: for a scheduler that cannot follow the base's noise schedule.

    """
    generator = Generator().manual_seed(seed)
    side = components.pixels_per_latent
    shape = (1, components.latent_channels, settings.height // side, settings.width // side)
    noise_1Chw = torch.randn(shape, generator=generator).to(components.denoiser.device)
    drawings = []
    for slot, strength in adapters:
        scheduler = make_scheduler(components.scheduler_config, settings.scheduler, settings.steps)
        own = Generator().set_state(generator.get_state())
        latents_1Chw = noise_1Chw * scheduler.init_noise_sigma
        drawings.append(Drawing(settings, embeddings_KLD, latents_1Chw, scheduler, own, slot, strength))
    return drawings


@torch.inference_mode()
def advance(unet: UNet2DConditionModel, drawings: Sequence[Drawing], bank: SlotBank | None = None) -> None:
    """Do one step of every drawing, in one forward pass for each UNet that they need; all must have the same size.

    ``unet`` is the base's. Adapters need the bank.
    """
    for drawing, output_KChw in zip(drawings, predict(unet, drawings, bank), strict=True):
        drawing.take(output_KChw)


@torch.inference_mode()
def predict(
    unet: UNet2DConditionModel, drawings: Sequence[Drawing], bank: SlotBank | None = None, at_once: int | None = None
) -> list[Tensor]:
    """Return what each drawing takes as its next step, as advance does; ``at_once`` bounds the rows of a pass.

    No drawing is changed, so it may be tried again.
    """
    groups: dict[tuple[int, int], list[Drawing]] = {}
    for drawing in drawings:
        groups.setdefault((id(drawing.own_unet), id(_backend(drawing, bank))), []).append(drawing)
    outputs: dict[int, Tensor] = {}
    for group in groups.values():
        together = sorted(group, key=lambda drawing: (id(drawing.slot), drawing.strength))
        output_RChw = _forward(_way(unet, together[0], bank), together, at_once)
        parts = output_RChw.split([drawing.settings.rows for drawing in together])
        outputs |= {id(drawing): output_KChw for drawing, output_KChw in zip(together, parts, strict=True)}
    return [outputs[id(drawing)] for drawing in drawings]


def _way(unet: UNet2DConditionModel, drawing: Drawing, bank: SlotBank | None) -> Way:
    """Return what takes the rows of a picture, and of others like it, through a UNet; ``unet`` is the base's."""
    own = drawing.own_unet
    return _backend(drawing, bank) or partial(in_torch, own or unet, None if own else bank)


def _backend(drawing: Drawing, bank: SlotBank | None) -> Backend | None:
    return None if bank is None else bank.backend_for(drawing.slot, drawing.latents_1Chw)


def in_torch(
    unet: UNet2DConditionModel,
    bank: SlotBank | None,
    inputs_RChw: Tensor,
    t_R: Tensor,
    embeddings_RLD: Tensor,
    runs: Sequence[Run] = (),
) -> Tensor:
    """Return the output of a UNet whose adapters the bank has, in its own dtype."""
    with nullcontext() if bank is None else bank.rows(runs):
        output_RChw: Tensor = unet(
            inputs_RChw.to(unet.dtype),
            t_R.to(unet.device),
            encoder_hidden_states=embeddings_RLD.to(unet.dtype),
            return_dict=False,
        )[0]
    return output_RChw


def _forward(way: Way, drawings: Sequence[Drawing], at_once: int | None) -> Tensor:
    adapters = [(drawing.slot, drawing.strength) for drawing in drawings for _ in range(drawing.settings.rows)]
    inputs_RChw = torch.cat([x for drawing in drawings for x in [drawing.inputs()] * drawing.settings.rows])
    t_R = torch.tensor([float(drawing.timestep) for drawing in drawings for _ in range(drawing.settings.rows)])
    embeddings_RLD = torch.cat([drawing.embeddings_KLD for drawing in drawings])
    outputs = []
    for start in range(0, len(adapters), at_once or len(adapters)):
        rows = slice(start, start + (at_once or len(adapters)))
        outputs.append(way(inputs_RChw[rows], t_R[rows], embeddings_RLD[rows], runs_of(adapters[rows])).float())
    return torch.cat(outputs)
