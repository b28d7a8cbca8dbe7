"""What may change while serving, and how the engine replicas are. Its replica holds nothing that is hard to replace."""

import asyncio
import logging
import math
import os
import time
from collections.abc import Callable
from typing import Any, Final

from diptych_api.servingconfig import MOST_ADAPTERS, RegistryConfig, ServedAdapter, config_hash
from diptych_api.wire import from_wire
from diptych_serving.ad_variables import limits_told, with_variables
from diptych_serving.refusals import Code, Refused
from diptych_serving.replica_facts import ReplicaFacts

LONGEST_WAIT_S: Final = 10.0
FORGOTTEN_AFTER_S: Final = 30.0
LOOK_EVERY_S: Final = 5.0
_log = logging.getLogger(__name__)


class Registry:
    """Holds the configuration that gateways and engines follow, and what engines report.

    All methods are coroutines, which Ray Serve runs one after another on the event loop, and not in threads.

    Whoever follows asks ``newer`` with the version it knows and hears at once of another one. ``look`` says what keeps
    engine replicas from starting; it may block.
    """

    def __init__(self, look: Callable[[], str] | None = None) -> None:
        self._look = look
        self._looked = -math.inf
        self._configured: RegistryConfig | None = None
        self._added: dict[str, ServedAdapter] = {}
        self._config: RegistryConfig | None = None
        self._version = ""
        self._changed = asyncio.Event()
        self._reports: dict[str, tuple[float, ReplicaFacts]] = {}
        self._notes: dict[str, str] = {}

    async def reconfigure(self, values: dict[str, Any]) -> None:
        """Take in the user_config, and the limits that variables of this process name.

        Raises pydantic's ValidationError or SpecInvalid, and keeps what was there.
        """
        config = from_wire(RegistryConfig, values)
        self._configured = config.model_copy(update={"rate_limit": with_variables(config.rate_limit, os.environ)})
        if not config.auth.admin_routes:
            self._added.clear()
        if self._publish(self._configured):
            for sentence in limits_told(os.environ):
                _log.warning(sentence)

    async def add(self, adapter: ServedAdapter) -> None:
        """Serve one more adapter until this process ends, in place of one of its name that was added before.

        Raises Refused when the deployment itself names it, or there are too many.
        """
        configured = self._configured_without(adapter.name)
        others = self._added.keys() - {adapter.name}
        if len(configured.adapters) + len(others) >= MOST_ADAPTERS:
            message = f"There are {MOST_ADAPTERS} adapters already."
            raise Refused(Code.CONFLICT, message, "Take one away first.", reason="TooManyAdapters")
        self._added[adapter.name] = adapter
        self._publish(configured)

    async def remove(self, name: str) -> None:
        """Serve an adapter no longer that was added. Raises Refused when it was not."""
        configured = self._configured_without(name)
        if self._added.pop(name, None) is None:
            raise Refused(Code.NOT_FOUND, f"There is no adapter {name}.", reason="AdapterNotFound")
        self._publish(configured)

    def _configured_without(self, name: str) -> RegistryConfig:
        """Return what is configured. Raises Refused where that names the adapter."""
        configured = self._configured or RegistryConfig()
        if any(adapter.name == name for adapter in configured.adapters):
            message = f"Adapter {name} belongs to the deployment."
            raise Refused(Code.CONFLICT, message, "Change spec.adapters instead.", reason="AdapterOfDeployment")
        return configured

    def _publish(self, configured: RegistryConfig) -> bool:
        """Let everybody follow what is configured and what was added; return whether that is something new."""
        named = {adapter.name for adapter in configured.adapters}
        room = MOST_ADAPTERS - len(named)
        added = [adapter for name, adapter in self._added.items() if name not in named][:room]
        config = configured.model_copy(update={"adapters": [*configured.adapters, *added]})
        version = config_hash(config)
        if version == self._version and self._config is not None:
            return False
        self._config, self._version = config, version
        self._changed.set()
        self._changed = asyncio.Event()
        return True

    async def newer(self, known: str, wait_s: float = LONGEST_WAIT_S) -> tuple[str, RegistryConfig] | None:
        """Return version and configuration when they are not the known ones, else None after a while."""
        if self._config is None or self._version == known:
            changed = self._changed
            try:
                await asyncio.wait_for(changed.wait(), min(wait_s, LONGEST_WAIT_S))
            except TimeoutError:
                return None
        return None if self._config is None else (self._version, self._config)

    async def report(self, facts: ReplicaFacts) -> None:
        """Take in how an engine replica is. It reports again and again; one that is quiet is forgotten."""
        self._reports[facts.replica] = (time.monotonic(), facts)

    async def leave(self, replica: str) -> None:
        """Forget an engine replica that ends."""
        self._reports.pop(replica, None)

    async def replicas(self) -> list[ReplicaFacts]:
        """Return the engine replicas that were heard of lately."""
        oldest = time.monotonic() - FORGOTTEN_AFTER_S
        self._reports = {name: report for name, report in self._reports.items() if report[0] >= oldest}
        return [facts for _, facts in self._reports.values()]

    async def note(self, about: str, text: str) -> None:
        """Take in what is wrong with a part of the application; an empty text takes it back."""
        self._notes[about] = text

    async def notes(self) -> list[str]:
        """Return what somebody should know who looks after the application."""
        if self._look is not None and time.monotonic() - self._looked >= LOOK_EVERY_S:
            self._looked = time.monotonic()
            self._notes["engines"] = await asyncio.to_thread(self._look)
        return [text for text in self._notes.values() if text]
