"""The queue: each key once, never two workers on one."""

import asyncio
import tracemalloc

import pytest

from diptych_operator.queue import Queue


def test_a_key_that_waits_is_not_queued_twice() -> None:
    async def story() -> list[str]:
        queue: Queue[str] = Queue()
        for key in "abab":
            queue.add(key)
        return [await queue.get() for _ in range(len(queue))]

    assert asyncio.run(story()) == ["a", "b"]


def test_a_key_that_is_woken_while_it_is_worked_on_comes_again_afterwards() -> None:
    async def story() -> tuple[int, str]:
        queue: Queue[str] = Queue()
        queue.add("a")
        key = await queue.get()
        queue.add("a")
        meanwhile = len(queue)
        queue.done(key)
        return meanwhile, await queue.get()

    assert asyncio.run(story()) == (0, "a")


def test_of_two_later_times_the_earlier_counts_and_waking_now_overrides_both() -> None:
    async def story() -> list[str]:
        queue: Queue[str] = Queue()
        queue.add_after("late", 1000)
        queue.add_after("late", 0.02)
        queue.add_after("late", 1000)
        queue.add_after("now", 1000)
        queue.add("now")
        found = [await queue.get(), await queue.get()]
        for key in found:
            queue.done(key)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.get(), 0.05)
        return found

    assert asyncio.run(story()) == ["now", "late"]


def test_a_key_that_is_woken_often_and_is_due_in_days_takes_no_memory() -> None:
    async def story() -> int:
        queue: Queue[str] = Queue()
        tracemalloc.start()
        for _ in range(20_000):
            queue.add_after("job", 86_400)
            queue.add("job")
            queue.done(await queue.get())
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return taken

    assert asyncio.run(story()) < 100_000


def test_a_worker_that_waits_hears_of_a_new_key() -> None:
    async def story() -> str:
        queue: Queue[str] = Queue()
        waiting = asyncio.ensure_future(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        return await asyncio.wait_for(waiting, 1)

    assert asyncio.run(story()) == "a"


def test_how_long_a_key_waited_is_told() -> None:
    waits: list[float] = []

    async def story() -> None:
        queue: Queue[str] = Queue(waits.append)
        queue.add("a")
        await queue.get()

    asyncio.run(story())
    assert len(waits) == 1
    assert 0 <= waits[0] < 10
