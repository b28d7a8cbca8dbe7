"""The engine: one thread that draws pictures of many requests together, step by step. No Ray, no web.

A request joins between two steps and leaves when its own are done, whatever its steps, scheduler, guidance and
adapters: base and tuned pictures of a comparison are rows of the same forward pass.
"""

import functools
import logging
import math
import queue
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from threading import Lock, Thread
from typing import Final, Self

import torch
from torch import Tensor

from diptych_api.errors import AdapterInvalid, QueueTimeout, RetryLater, SpecInvalid
from diptych_diffusion.components import Components
from diptych_diffusion.drawings import begin
from diptych_diffusion.held import Backend, Held, OwnUNet, Run, Slot
from diptych_diffusion.prompts import encode
from diptych_diffusion.safety_checker import SafetyChecker
from diptych_diffusion.schedulers import make_scheduler
from diptych_diffusion.slot_bank import MAX_RANK, SlotBank
from diptych_serving.decoding import Decoder
from diptych_serving.device_health import DeviceHealth
from diptych_serving.image_request import (
    Failed,
    Finished,
    ImageRequest,
    OnEvent,
    Preview,
    Progress,
    Timing,
)
from diptych_serving.stepping import Stepper, named
from diptych_serving.tasks import Floor, Task

_log = logging.getLogger(__name__)
ENCODED_PROMPTS: Final = 256


class Engine:
    """Draws with one base and the adapters in ``bank``. Use it as a context manager, or start and close it."""

    def __init__(
        self,
        components: Components,
        checker: SafetyChecker | None = None,
        *,
        slots: int = 8,
        max_rank: int = MAX_RANK,
        max_rows: int = 16,
        backend: Backend | None = None,
    ) -> None:
        self.components = components
        self.decoder = Decoder(components, checker)
        networks = components.denoiser, components.text_encoder
        self.bank = SlotBank(*networks, slots=slots, max_rank=max_rank, backend=backend)
        self.max_rows = max_rows
        self.health = DeviceHealth(math.prod(components.picture_size))
        self._stepper = Stepper(components, self.bank)
        self._inbox: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._floor = Floor(max_rows)
        self._thread = Thread(target=self._loop, name="engine", daemon=True)
        self._door = Lock()
        self._closing = False
        self._encode = functools.lru_cache(ENCODED_PROMPTS)(lambda text: encode(components, [text]))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, request: ImageRequest, on_event: OnEvent, *, queue_timeout_s: float = math.inf) -> Task:
        """Take in a request and return it; ``on_event`` hears of its progress, last of Finished or Failed.

        One that has no rows after ``queue_timeout_s`` fails with QueueTimeout.

        Raises:
            AdapterInvalid: when an arm names an adapter that is not loaded.
            SpecInvalid: for a size or a number of steps that the base or the scheduler cannot take, and a strength
                of a whole UNet.
            UnsupportedHere: for a scheduler that cannot follow the base's noise schedule.
            RetryLater: when the engine is closing.

        """
        self._check(request)
        loaded = self.bank.loaded
        if missing := [arm.adapter for arm in request.arms if arm.adapter is not None and arm.adapter not in loaded]:
            raise AdapterInvalid(
                f"Adapter {missing[0]} is not loaded.", hint=f"Loaded are: {', '.join(sorted(loaded)) or 'none'}."
            )
        slots = tuple(None if arm.adapter is None else loaded[arm.adapter] for arm in request.arms)
        for arm, slot in zip(request.arms, slots, strict=True):
            if isinstance(slot, OwnUNet) and arm.strength != 1:
                raise SpecInvalid(
                    f"Adapter {slot.name} is a whole UNet, which has no strength {arm.strength:g}.",
                    hint="Leave strength out, or set it to 1.",
                )
        task = Task(request, slots, on_event, queue_timeout_s=queue_timeout_s)
        with self._door:
            if self._closing:
                raise RetryLater("The engine is closing.", hint="Ask another replica.")
            self._inbox.put(task)
        return task

    @property
    def waiting(self) -> int:
        """Requests that were taken in and have no rows yet, as far as can be told from another thread."""
        return self._inbox.qsize() + len(self._floor.waiting)

    @property
    def rows(self) -> int:
        """Rows that are being drawn, as far as can be told from another thread."""
        return self._floor.rows

    @property
    def problem(self) -> str | None:
        """Why this process should be replaced by another one, or None."""
        return self.health.problem if self._thread.is_alive() else "The engine's thread has ended."

    def close(self) -> None:
        """Finish what was taken in, then end the thread."""
        with self._door:
            self._closing = True
            self._inbox.put(None)
        self._thread.join()

    def _check(self, request: ImageRequest) -> None:
        side = self.components.pixels_per_latent
        for name, pixels in (("height", request.settings.height), ("width", request.settings.width)):
            if pixels < side or pixels % side:
                raise SpecInvalid(f"{name} is {pixels} pixels.", hint=f"Use a multiple of {side}.")
        if not request.arms:
            raise SpecInvalid("arms is empty.", hint="Name an adapter, or the base.")
        make_scheduler(self.components.scheduler_config, request.settings.scheduler, request.settings.steps)

    @torch.inference_mode()
    def _loop(self) -> None:
        while self._collect():
            self._floor.sweep()
            for task in self._floor.overdue(time.monotonic()):
                task.tell(Failed(_waited_too_long(task)))
            for task in self._floor.admit():
                with self._told_on_failure([task]):
                    self._begin(task)
            for tasks, drawings in self._floor.groups():
                with self._told_on_failure(tasks):
                    self._stepper.step(drawings)
            for task in list(self._floor.drawing):
                with self._told_on_failure([task]):
                    self._tell(task)

    @contextmanager
    def _told_on_failure(self, tasks: Sequence[Task]) -> Iterator[None]:
        """Tell whatever torch raises in the body to those of one size who wait for it, and go on with the others."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 -- the thread must live on
            _log.exception("%d requests failed.", len(tasks))
            told = named(error, tasks[0].size)
            self.health.failed(told, math.prod(tasks[0].size))
            for task in tasks:
                self._floor.leave(task)
                task.tell(Failed(told))

    def _collect(self) -> bool:
        """Take in what came, waiting for it when there is nothing to draw; return False when all is done."""
        while True:
            idle = self._floor.is_empty
            if idle and self._closing and self._inbox.empty():
                return False
            try:
                task = self._inbox.get(block=idle)
            except queue.Empty:
                return True
            if task is not None:
                self._floor.waiting.append(task)

    def _begin(self, task: Task) -> None:
        request = task.request
        task.admitted = time.monotonic()
        texts = (request.negative_prompt, request.prompt)[-request.settings.rows :]
        embeddings_KLD = torch.cat([self._encode(text) for text in texts])
        adapters = [(slot, arm.strength) for slot, arm in zip(task.slots, request.arms, strict=True)]
        task.drawings = begin(self.components, request.settings, embeddings_KLD, request.seed, adapters)
        for drawing in task.drawings:
            drawing.embeddings_KLD = self._as_adapted(drawing.embeddings_KLD, texts, drawing.slot, drawing.strength)
        task.begun = time.monotonic()

    def _as_adapted(self, base_KLD: Tensor, texts: Sequence[str], slot: Held | None, strength: float) -> Tensor:
        """Return the embeddings of the texts as the adapter reads them: mostly the base's own."""
        if not isinstance(slot, Slot) or not slot.adapts_text or strength == 0:
            return base_KLD
        with self.bank.rows([Run(0, len(texts), slot, strength)]):
            return encode(self.components, texts)

    def _tell(self, task: Task) -> None:
        """Tell how far a task is, or hand out its pictures."""
        done, total, every = task.drawings[0].done, task.drawings[0].steps, task.request.preview_every
        task.tell(Progress(done, total))
        if done < total:
            if every and done % every == 0:
                task.tell(Preview(done, self.decoder.previews(_latents(task))))
            return
        self._floor.leave(task)
        drawn = time.monotonic()
        images = self.decoder.images(_latents(task), task.slots)
        self.health.succeeded(math.prod(task.size))
        moments = (task.submitted, task.admitted, task.begun, drawn, time.monotonic())
        queue, encode, denoise, decode = (after - before for before, after in pairwise(moments))
        task.tell(Finished(images, Timing(queue, encode, denoise, decode)))


def _waited_too_long(task: Task) -> QueueTimeout:
    return QueueTimeout(
        f"The request waited longer than {task.queue_timeout_s:g} seconds for its turn.", hint="Try again."
    )


def _latents(task: Task) -> Tensor:
    return torch.cat([drawing.latents_1Chw for drawing in task.drawings])
