"""What the program says of itself to probes."""

import asyncio
import time

import pytest
from kubernetes.aio.client import Configuration

from diptych_api.errors import RunFailed
from diptych_operator.kinds import FINE_TUNE_JOB, LEASE, Ref
from diptych_operator.kube import Kube
from diptych_operator.metrics import Metrics
from diptych_operator.program import Operator
from diptych_operator.settings import read_settings


def test_an_operator_that_hears_nothing_is_neither_ready_nor_alive() -> None:
    async def story() -> list[tuple[str, str]]:
        kube = Kube(Configuration(host="http://127.0.0.1:1"))
        operator = Operator(read_settings({}), kube, Metrics())
        operator.trouble = ""
        answers = []
        for quiet_s in (1, 300):
            operator.ears.heard[LEASE] = time.monotonic() - quiet_s
            answers.append((operator.unready(), operator.silence()))
        await kube.close()
        return answers

    silent = "the watches are silent for 300 s"
    assert asyncio.run(story()) == [("", ""), (silent, silent)]


def test_an_operator_that_kopf_leaves_deaf_for_a_kind_does_not_go_on() -> None:
    async def story() -> None:
        kube = Kube(Configuration(host="http://127.0.0.1:1"))
        operator = Operator(read_settings({}), kube, Metrics())
        first, *others = (watch.kind for watch in operator.watched)
        operator.ears.lists = {kind.path("art") for kind in others}
        with pytest.raises(RunFailed, match=first.kind):
            await operator._until_watched(patience_s=0)
        operator.ears.lists.add(first.path(None))
        await operator._until_watched(patience_s=0)
        await kube.close()

    asyncio.run(story())


def test_others_have_their_turn_between_two_resources() -> None:
    async def story() -> int:
        kube = Kube(Configuration(host="http://127.0.0.1:1"))
        operator = Operator(read_settings({}), kube, Metrics())
        for number in range(100):
            operator.queue.add(Ref(FINE_TUNE_JOB, "nowhere", f"job-{number}"))
        worker = asyncio.ensure_future(operator._worker())
        for _ in range(10):
            await asyncio.sleep(0)
        worker.cancel()
        await kube.close()
        return len(operator.queue)

    assert asyncio.run(story()) >= 90
