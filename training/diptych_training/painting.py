"""Pictures on the way: the same prompts and the same noise at every look, so that they differ by the weights alone."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from diptych_api.errors import StoreUnwritable
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_diffusion.components import Components
from diptych_diffusion.sampler import SampleRequest, decode, sample_latents
from diptych_training.data.manifest import Manifest
from diptych_training.distances import Pictures
from diptych_training.grids import montage
from diptych_training.out_of_memory import at_once
from diptych_training.run_store import RunStore
from diptych_training.sample_files import sample_path
from diptych_training.share import Share
from diptych_training.suites import prompts_of
from diptych_training.trainee import Trainee
from diptych_training.validation import StopAsked

UNASKED: Final = 4
"""Pictures where the job names no prompts for them."""
ACROSS, NARROWEST, WIDEST = 4, 128, 256
"""Pictures in a line, and the pixels that each may take there."""


@dataclass
class Painter:
    """Draws what the trained weights make of fixed prompts, into ``samples/`` of the run store.

    Neither a picture that does not fit the memory nor a store that refuses one ends the training.
    """

    base: Components
    trainee: Trainee
    request: SampleRequest
    every_steps: int
    store: RunStore
    compiled: bool = False
    """Whether the UNet was compiled for training; other numbers of rows would have it compiled anew."""
    newest: int | None = None
    """Step of the newest pictures."""
    problem: str = ""
    """Why pictures are missing, if some are and nobody was told."""

    def draw(self, step: int, wants_stop: Callable[[], bool]) -> bool:
        """Draw the pictures of a step unless they are there; return whether nobody asked to stop meanwhile.

        The caller puts the weights in place. All randomness is the request's own, so training does not notice.
        """

        def go_on(_done: int, _of: int) -> None:
            if wants_stop():
                raise StopAsked

        try:
            if not self.store.exists(sample_path(step)):
                self.store.write_bytes(sample_path(step), self._sheet(self._pictures(go_on)))
            self.newest = step
        except StopAsked:
            return False
        except torch.OutOfMemoryError:
            self.problem = f"No pictures of step {step}: the GPU's memory is too small to draw beside training."
        except StoreUnwritable as error:
            self.problem = f"No pictures of step {step}: {error.message}"
        return True

    def take_problem(self) -> str:
        """Return why pictures are missing, once."""
        told, self.problem = self.problem, ""
        return told

    def _pictures(self, on_step: Callable[[int, int], None]) -> Pictures:
        drawing, dtype, kind = self.trainee.within(self.base), self.trainee.compute_dtype, self.trainee.device.type
        as_written = torch.compiler.set_stance("force_eager") if self.compiled else nullcontext()
        with as_written, torch.autocast(kind, dtype=dtype, enabled=dtype != torch.float32):
            latents_BChw = sample_latents(drawing, self.request, on_step)
        with _on(self.trainee.device, self.base.vae):
            return decode(self.base, latents_BChw, at_once=1)

    def _sheet(self, pictures: Pictures) -> bytes:
        cell = min(max(pictures.shape[2], NARROWEST), WIDEST)
        sheet, png = montage(list(pictures), self.request.prompts, across=ACROSS, cell=cell), io.BytesIO()
        sheet.save(png, "PNG")
        return png.getvalue()


def painter(share: Share, base: Components, trainee: Trainee, manifest: Manifest) -> Painter | None:
    """Return who draws on the way, if the job wants that and there is something to draw.

    Sampler, steps, guidance and seeds are those of the evaluation, and so are the prompts where the job names none:
    then the last pictures are the first ones of the evaluation.
    """
    spec = share.spec
    every_steps = spec.training.samples.every_steps
    prompts = () if every_steps is None else tuple(_prompts(spec, manifest))
    if every_steps is None or not prompts:
        return None
    settings, size = spec.evaluation, spec.dataset.image.size
    request = SampleRequest(
        prompts=prompts,
        seeds=tuple(settings.seed + n for n in range(len(prompts))),
        steps=settings.inference_steps,
        guidance_scale=settings.guidance_scale,
        scheduler=settings.scheduler,
        height=size,
        width=size,
        max_rows=max(2, at_once(spec)),  # no more than training has room for
    )
    return Painter(base, trainee, request, every_steps, share.store, compiled=spec.training.compile != "Off")


def _prompts(spec: FineTuneJobSpec, manifest: Manifest) -> list[str]:
    settings = spec.evaluation
    asked = settings.prompts or (list(prompts_of(settings.suite)) if settings.suite else [])
    captions = asked or [entry.captions[0] for entry in (*manifest.held_out, *manifest.train)]
    return spec.training.samples.prompts or captions[:UNASKED]


@contextmanager
def _on(device: torch.device, module: nn.Module) -> Iterator[None]:
    """Move a module to a device while the body runs."""
    home = next(module.parameters()).device
    module.to(device)
    try:
        yield
    finally:
        module.to(home)
