"""The trace through the real engine, in real time."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Condition
from typing import Final

import torch

from diptych_bench.arrivals import ADAPTERS, Arrival
from diptych_bench.policies import Policy
from diptych_bench.simulation import Costs, Outcome
from diptych_diffusion.drawing_settings import Settings
from diptych_diffusion.drawings import Drawing, advance, begin
from diptych_diffusion.prompts import encode
from diptych_diffusion.sampler import decode
from diptych_serving.engine import Engine
from diptych_serving.image_request import Event, Failed, Finished
from diptych_serving.tasks import Floor

REPEATS: Final = 9


class PolicyEngine(Engine):
    """The engine; who may draw together can be changed while nobody draws."""

    def follow(self, floor: Floor) -> None:
        """Take in a rule of admission."""
        self._floor = floor


@dataclass
class _Ends:
    """When each part of each request was finished."""

    left: int
    at: dict[int, float] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)
    changed: Condition = field(default_factory=Condition)

    def listener(self, number: int) -> Callable[[Event], None]:
        """Return what hears of a part of request ``number``."""

        def tell(event: Event) -> None:
            if isinstance(event, Finished | Failed):
                with self.changed:
                    self.at[number] = time.monotonic()
                    self.left -= 1
                    if isinstance(event, Failed):
                        self.failures.append(event.error)
                    self.changed.notify_all()

        return tell

    def wait(self) -> None:
        """Return when all are finished. Raises what failed."""
        with self.changed:
            self.changed.wait_for(lambda: self.left == 0)
        if self.failures:
            raise self.failures[0]


def replay(engine: PolicyEngine, arrivals: Sequence[Arrival], policy: Policy) -> Outcome:
    """Return how long each request took, from when it was to come until its last picture was there."""
    engine.follow(policy.floor(engine.max_rows))
    parts = [policy.parts(arrival.request) for arrival in arrivals]
    ends = _Ends(left=sum(map(len, parts)))
    started, cpu = time.monotonic(), time.process_time()
    for number, (arrival, requests) in enumerate(zip(arrivals, parts, strict=True)):
        if (wait := started + arrival.at_s - time.monotonic()) > 0:
            time.sleep(wait)
        for request in requests:
            engine.submit(request, ends.listener(number))
    ends.wait()
    latencies = [ends.at[number] - started - arrival.at_s for number, arrival in enumerate(arrivals)]
    return Outcome(latencies, max(ends.at.values()) - started, time.process_time() - cpu)


@torch.inference_mode()
def measured_costs(engine: Engine, pixels: int, guidance: float) -> Costs:
    """Return what a step costs by the number of pictures in it, and what comes before and after.

    All are measured in turn, again and again, and the least time of each counts: the one that others disturbed least.
    """
    components, settings = engine.components, Settings(pixels, pixels, 50, guidance)
    embeddings_KLD = encode(components, ["", "a red apple"][-settings.rows :])
    slots = [None, *(engine.bank.loaded[name] for name in ADAPTERS)]

    def drawings(count: int, kinds: int) -> list[Drawing]:
        adapters = [(slots[1 if kinds == 1 else number % kinds], 1.0) for number in range(count)]
        return begin(components, settings, embeddings_KLD, 0, adapters)

    counts = range(1, engine.max_rows // settings.rows + 1)
    begun = {(count, kinds): drawings(count, kinds) for count in counts for kinds in (1, len(slots))}
    latents_1Chw = begun[1, 1][0].latents_1Chw
    acts: dict[object, Callable[[], object]] = {
        key: partial(advance, components.denoiser, together, engine.bank) for key, together in begun.items()
    }
    acts |= {"begin": partial(drawings, 1, 1), "decode": partial(decode, components, latents_1Chw)}
    least = _least(acts)
    one = min(least[1, 1], least[1, len(slots)])
    return Costs(
        same={count: one if count == 1 else least[count, 1] for count in counts},
        mixed={count: one if count == 1 else least[count, len(slots)] for count in counts},
        begin_s=least["begin"],
        decode_s=least["decode"],
    )


def _least(acts: Mapping[object, Callable[[], object]]) -> dict[object, float]:
    """Return the least seconds of each act: of this thread's CPU when it computes alone, else on the wall."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    least = dict.fromkeys(acts, float("inf"))
    for _ in range(REPEATS):
        for name, act in acts.items():
            before = clock()
            act()
            least[name] = min(least[name], clock() - before)
    return least
