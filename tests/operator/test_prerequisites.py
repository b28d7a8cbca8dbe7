"""Every kind must be found before kopf asks which kinds there are."""

import asyncio
from typing import cast

from diptych_operator.kinds import FINE_TUNE_JOB, POD, RAY_JOB, RAY_SERVICE, Kind
from diptych_operator.kube import Kube
from diptych_operator.prerequisites import undiscovered


class Young:
    """An API server that has not told of all CRDs yet."""

    async def discovered(self, group: str, version: str) -> frozenset[str]:
        known = {("", "v1"): {"pods", "services"}, ("ray.io", "v1"): {"rayjobs"}}
        return frozenset(known.get((group, version), ()))


def told(*kinds: Kind) -> str:
    return asyncio.run(undiscovered(cast("Kube", Young()), kinds))


def test_kinds_that_nobody_would_find_are_named() -> None:
    assert told(POD, RAY_JOB) == ""
    assert "finetunejobs.diptych.dev, rayservices.ray.io." in told(POD, FINE_TUNE_JOB, RAY_JOB, RAY_SERVICE)
