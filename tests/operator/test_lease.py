"""The Lease: two claims never hold at once, whatever happens to the one that had it."""

import asyncio
from typing import Any

from diptych_operator.cluster import Conflict, Refused, Unreachable
from diptych_operator.kinds import LEASE, Ref
from diptych_operator.lease import Lease

REF = Ref(LEASE, "diptych", "diptych-operator")


class Shelf:
    """One Lease on an API server, with resourceVersions."""

    def __init__(self) -> None:
        self.found: dict[str, Any] | None = None
        self.version = 0
        self.broken = False

    async def get(self, ref: Ref) -> dict[str, Any] | None:
        self._answer()
        return self.found

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self._answer()
        if self.found is not None:
            raise Conflict("there")
        return self._keep(manifest)

    async def replace(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self._answer()
        if manifest["metadata"]["resourceVersion"] != str(self.version):
            raise Conflict("changed")
        return self._keep(manifest)

    def _answer(self) -> None:
        if self.broken:
            raise Unreachable("down")

    def _keep(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.found = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": str(self.version)}}
        return self.found


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def claims(*names: str) -> tuple[Shelf, Clock, list[Lease]]:
    shelf, clock = Shelf(), Clock()
    return shelf, clock, [Lease(shelf, REF, name, 15, clock) for name in names]


def tried(lease: Lease) -> bool:
    return asyncio.run(lease._try())


def test_the_first_gets_it_and_the_second_does_not() -> None:
    _, _, [first, second] = claims("a", "b")
    assert tried(first)
    assert not tried(second)
    assert first.is_held()
    assert not second.is_held()


def test_a_holder_that_renews_keeps_it() -> None:
    _, clock, [first, second] = claims("a", "b")
    for _ in range(10):
        assert tried(first)
        assert not tried(second)
        clock.now += 10
    assert tried(first)


def test_a_holder_that_is_silent_loses_it_before_another_takes_it() -> None:
    _, clock, [first, second] = claims("a", "b")
    tried(first)
    tried(second)
    clock.now += 15
    assert not first.is_held()
    assert not tried(second)
    clock.now += 0.1
    assert tried(second)


def test_a_record_of_unknown_age_is_given_its_whole_time() -> None:
    _, clock, [first, second] = claims("a", "b")
    tried(first)
    clock.now += 1000  # the second starts long afterwards; the first may have renewed a moment ago
    assert not tried(second)


def test_a_request_without_an_answer_does_not_extend_it() -> None:
    shelf, clock, [first] = claims("a")
    tried(first)
    shelf.broken = True
    clock.now += 14
    assert not tried(first)
    assert first.is_held()
    clock.now += 1
    assert not first.is_held()


def test_a_refusal_is_waited_out_as_long_as_it_is_held() -> None:
    clock = Clock()

    class Refusing(Shelf):
        """Refuses to be written, as an API server does that has not read its roles yet."""

        async def replace(self, manifest: dict[str, Any]) -> dict[str, Any]:
            clock.now += 1
            raise Refused("forbidden")

    lease = Lease(Refusing(), REF, "a", 1, clock)
    assert tried(lease)
    asyncio.run(lease.keep())
    assert not lease.is_held()


def test_who_may_not_have_it_waits_and_says_why_until_the_right_is_granted() -> None:
    class Guarded(Shelf):
        """Lets nobody read before the second question."""

        asked = 0

        async def get(self, ref: Ref) -> dict[str, Any] | None:
            self.asked += 1
            if self.asked == 1:
                raise Refused("leases.coordination.k8s.io is forbidden")
            return await super().get(ref)

    told: list[str] = []
    lease = Lease(Guarded(), REF, "a", 1)
    asyncio.run(lease.acquire(told.append))
    assert lease.is_held()
    assert told == ["leases.coordination.k8s.io is forbidden", ""]


def test_one_that_is_released_can_be_taken_at_once() -> None:
    shelf, _, [first, second] = claims("a", "b")
    tried(first)
    asyncio.run(first.release())
    assert not first.is_held()
    assert tried(second)
    assert shelf.found is not None
    assert shelf.found["spec"]["leaseTransitions"] == 2


def test_two_that_try_at_the_same_moment_do_not_both_get_it() -> None:
    shelf, clock, [first, second] = claims("a", "b")
    tried(first)
    asyncio.run(first.release())
    stale = dict(shelf.found or {})

    class Behind(Shelf):
        """Shows the record as it was a moment ago."""

        async def get(self, ref: Ref) -> dict[str, Any] | None:
            return stale

    assert tried(first)
    behind = Behind()
    behind.version = shelf.version
    late = Lease(behind, REF, "c", 15, clock)
    assert not tried(late)
    assert not late.is_held()
    assert not tried(second)
