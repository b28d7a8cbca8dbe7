"""An engine and its adapters as gateways see them: one request in, its events out. Knows no Ray."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from diptych_api.errors import DiptychError
from diptych_api.limits import Limits
from diptych_serving.adapter_keeper import AdapterKeeper
from diptych_serving.degrade import Degraded, fit_to
from diptych_serving.engine import Engine
from diptych_serving.events import events_of
from diptych_serving.image_request import Event, Failed, ImageRequest
from diptych_serving.refusals import Code, Refused, refusal_of

RETRY_AFTER_S: Final = 2.0
LONGEST_LOAD_S: Final = 60.0


@dataclass
class Drawer:
    """Draws requests one by one for its callers, all of them together in its engine."""

    engine: Engine
    keeper: AdapterKeeper
    limits: Limits = field(default_factory=Limits)

    async def draw(self, request: ImageRequest) -> AsyncIterator[Event | Degraded]:
        """Yield what happens to a request, last of it Finished or Failed; first which adapters are not there.

        A failure is told as a Refused, which can travel between processes.
        """
        try:
            self._check_room()
            wanted = {arm.adapter for arm in request.arms if arm.adapter is not None}
            facts = {name: await self.keeper.settled(name, LONGEST_LOAD_S) for name in wanted}
            fitting, degraded = fit_to(request, facts)
            yield degraded
            async for event in events_of(self.engine, fitting):
                yield Failed(refusal_of(event.error)) if isinstance(event, Failed) else event
        except (DiptychError, Refused) as error:
            yield Failed(refusal_of(error))

    def _check_room(self) -> None:
        if self.engine.waiting >= self.limits.max_queue:
            message = f"{self.engine.waiting} requests wait already on this replica."
            raise Refused(Code.LIMITED, message, "Try again.", reason="QueueFull", retry_after_s=RETRY_AFTER_S)
