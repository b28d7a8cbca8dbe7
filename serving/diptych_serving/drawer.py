"""An engine and its adapters as gateways see them: one request in, its events out. Knows no Ray."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from diptych_api.errors import DiptychError
from diptych_api.limits import Limits
from diptych_serving.adapter_keeper import AdapterKeeper
from diptych_serving.backlog import Backlog
from diptych_serving.degrade import Degraded, fit_to
from diptych_serving.engine import Engine
from diptych_serving.events import events_of
from diptych_serving.image_request import Event, Failed, ImageRequest, Progress
from diptych_serving.refusals import Refused, refusal_of

LONGEST_LOAD_S: Final = 60.0


@dataclass
class Drawer:
    """Draws requests one by one for its callers, all of them together in its engine."""

    engine: Engine
    keeper: AdapterKeeper
    limits: Limits = field(default_factory=Limits)
    backlog: Backlog = field(default_factory=Backlog, init=False)

    async def draw(self, request: ImageRequest) -> AsyncIterator[Event | Degraded]:
        """Yield what happens to a request, last of it Finished or Failed; first which adapters are not there.

        A failure is told as a Refused, which can travel between processes. Progress is told to those who follow it.
        """
        try:
            entry = self.backlog.enter(request, self.limits, self.engine.max_rows, time.monotonic())
        except Refused as error:
            yield Failed(error)
            return
        try:
            async for event in self._draw(request):
                if isinstance(event, Progress):
                    self.backlog.progressed(entry, event.step / event.total, time.monotonic())
                if request.is_followed or not isinstance(event, Progress):
                    yield event
        except (DiptychError, Refused) as error:
            yield Failed(refusal_of(error))
        finally:
            self.backlog.leave(entry)

    async def _draw(self, request: ImageRequest) -> AsyncIterator[Event | Degraded]:
        wanted = {arm.adapter for arm in request.arms if arm.adapter is not None}
        settled = await asyncio.gather(*(self.keeper.settled(name, LONGEST_LOAD_S) for name in wanted))
        facts = dict(zip(wanted, settled, strict=True))
        fitting, degraded = fit_to(request, facts)
        yield degraded
        async for event in events_of(self.engine, fitting, self.limits.queue_timeout_seconds):
            yield Failed(refusal_of(event.error)) if isinstance(event, Failed) else event
