"""What kopf would keep for handlers of changes. Ours hear raw events alone, so it keeps and compares nothing.

Unasked, kopf holds a record of every object for ever, and a copy and a comparison of every object at each event.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import kopf
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory


class Forgetful(ResourceMemories):
    """Records of objects that live as long as one event. `ending` is set when kopf begins to end."""

    def __init__(self) -> None:
        super().__init__()
        self.ending = asyncio.Event()

    def iter_all_daemon_memories(self) -> Iterator[Any]:
        """Return the daemons to be stopped: there are none, but kopf asks for them first when it ends."""
        self.ending.set()
        return iter(())

    async def recall(self, raw_body: Any, **how: Any) -> ResourceMemory:  # noqa: ANN401 - kopf's arguments
        """Return a fresh record."""
        return await super().recall(raw_body, **{**how, "ephemeral": True})


class NoEssence(kopf.DiffBaseStorage):
    """No object is compared with what it was."""

    def build(self, **_: Any) -> Any:  # noqa: ANN401 - kopf's arguments
        """Return what an object is compared by: nothing."""
        return {}

    def fetch(self, **_: Any) -> None:  # noqa: ANN401 - kopf's arguments
        """Return what an object was compared by: unknown."""

    def store(self, **_: Any) -> None:  # noqa: ANN401 - kopf's arguments
        """Keep nothing."""


class NoProgress(kopf.ProgressStorage):
    """No handler runs more than once."""

    def fetch(self, **_: Any) -> None:  # noqa: ANN401 - kopf's arguments
        """Return how far a handler is: unknown."""

    def store(self, **_: Any) -> None:  # noqa: ANN401 - kopf's arguments
        """Keep nothing."""

    def purge(self, **_: Any) -> None:  # noqa: ANN401 - kopf's arguments
        """Keep nothing."""

    def touch(self, **_: Any) -> None:  # noqa: ANN401 - kopf's arguments
        """Keep nothing."""

    def clear(self, *, essence: Any) -> Any:  # noqa: ANN401 - kopf's arguments
        """Return the essence as it is."""
        return essence
