"""The look at everything comes in its time, whatever else is suspected."""

import asyncio
from typing import Any, cast

from diptych_operator.kinds import FINE_TUNE_JOB, RAY_JOB, Kind, Ref
from diptych_operator.kube import Kube
from diptych_operator.store import Store
from diptych_operator.syncing import Syncing
from diptych_operator.version import Version
from diptych_operator.watching import Watch


class Restless:
    """An API server of which one kind is listed anew again and again."""

    def __init__(self) -> None:
        self.syncing = Syncing(cast("Kube", self), Store(), [Watch(RAY_JOB), Watch(FINE_TUNE_JOB)], every_s=0.05)
        self.looked_at_all = asyncio.Event()

    async def versions(self, kind: Kind, **_: Any) -> dict[Ref, Version]:
        self.syncing.suspect(RAY_JOB)
        if kind == FINE_TUNE_JOB:
            self.looked_at_all.set()
        return {}


def test_a_kind_that_is_listed_again_and_again_does_not_keep_the_others_from_being_looked_at() -> None:
    async def story() -> None:
        restless = Restless()
        restless.syncing.suspect(RAY_JOB)
        keeping = asyncio.ensure_future(restless.syncing.keep())
        try:
            await asyncio.wait_for(restless.looked_at_all.wait(), 5)
        finally:
            keeping.cancel()

    asyncio.run(story())
