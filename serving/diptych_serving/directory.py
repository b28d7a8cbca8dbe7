"""What a gateway knows of the deployment: its newest configuration, its engine replicas, who may ask."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from diptych_api.limits import Limits
from diptych_api.servingconfig import RegistryConfig, ServedAdapter
from diptych_serving.identity import PAGE_HEADER, client_of
from diptych_serving.intake import Intake
from diptych_serving.keys import Keys, Scope, read_keys
from diptych_serving.rate_limit import Client
from diptych_serving.refusals import Code, Refused
from diptych_serving.replica_facts import AdapterFacts, BaseFacts, ReplicaFacts, worst

COLD_RETRY_S: Final = 5.0
IDLE_RETRY_S: Final = 60.0
NO_ENGINES: Final = "The deployment has no engine replicas: spec.replicas is 0."


@dataclass
class Directory:
    """The newest configuration, and the engine replicas, as far as they are known here."""

    name: str
    config: RegistryConfig | None = None
    keys: Keys | None = None
    """None where anybody may ask."""
    replicas: Sequence[ReplicaFacts] = ()
    last_base: BaseFacts | None = None
    compares: bool = True
    """Whether base and adapters may be asked for side by side."""
    notes: Sequence[str] = ()
    """What the registry knows to be wrong."""
    page_ticket: str = field(default_factory=secrets.token_hex)
    """Who shows it is the page of this gateway, and is believed for whom it asks."""
    _heard: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @property
    def limits(self) -> Limits:
        """The bounds of one request."""
        return Limits() if self.config is None else self.config.limits

    @property
    def has_engines(self) -> bool:
        """Whether there are to be engine replicas at all."""
        return self.config is None or self.config.replicas != 0

    def configure(self, config: RegistryConfig, environment: Mapping[str, str]) -> None:
        """Take in a configuration; ``environment`` holds the API keys."""
        self.config, self.keys = config, read_keys(config.auth, environment)

    def update(self, replicas: Sequence[ReplicaFacts]) -> None:
        """Take in what the registry knows; the base is remembered while no replica runs."""
        self.replicas = replicas
        if replicas:
            self.last_base = replicas[0].base
        self._heard.set()
        self._heard = asyncio.Event()

    async def settled(self, adapter: ServedAdapter, timeout_s: float) -> AdapterFacts:
        """Return how an adapter is once every replica has loaded it or failed to, or else after a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self._is_settled(adapter):
                    await self._heard.wait()
        return worst(adapter.name, self.replicas)

    def _is_settled(self, adapter: ServedAdapter) -> bool:
        told = [replica.adapters.get(adapter.name) for replica in self.replicas]
        return bool(told) and all(facts and facts.is_settled and facts.mark == adapter.mark for facts in told)

    def intake(self) -> Intake:
        """Return the reader of requests. Raises Refused while nothing is loaded."""
        if self.config is None or self.last_base is None:
            raise self._not_loaded()
        return Intake(self.config, self.last_base)

    def problems(self) -> list[str]:
        """Return what somebody should know who looks after the deployment."""
        return list(self.notes) if self.has_engines else [NO_ENGINES, *self.notes]

    def _not_loaded(self) -> Refused:
        if not self.has_engines:
            return Refused(Code.UNAVAILABLE, NO_ENGINES, reason="NoReplicas", retry_after_s=IDLE_RETRY_S)
        message = " ".join(["The base is not loaded yet.", *self.notes])
        hint = "Try again; /ready tells how far it is."
        return Refused(Code.UNAVAILABLE, message, hint, reason="Loading", retry_after_s=COLD_RETRY_S)

    def adapters(self) -> list[AdapterFacts]:
        """Return how each wanted adapter is on the replica that is worst off."""
        wanted = () if self.config is None else self.config.adapters
        return [worst(adapter.name, self.replicas) for adapter in wanted]

    @property
    def is_ready(self) -> bool:
        """Whether a base is loaded, and each wanted adapter that has files is loaded or has finally failed."""
        wanted = () if self.config is None else self.config.adapters
        with_files = {adapter.name for adapter in wanted if adapter.uri is not None}
        unsettled = [facts for facts in self.adapters() if facts.name in with_files and not facts.is_settled]
        return self.config is not None and self.last_base is not None and not (self.replicas and unsettled)

    def client(self, peer: str, headers: Mapping[str, str], scope: Scope | None, session: str | None = None) -> Client:
        """Return who asks. Raises Refused for one who may not; header names are in lower case.

        Without a scope any key will do.
        """
        key = None if self.keys is None else self.keys.owner(headers.get("authorization", ""), scope)
        trusted = [] if self.config is None else self.config.trusted_proxies
        if secrets.compare_digest(headers.get(PAGE_HEADER, "").encode(), self.page_ticket.encode()):
            trusted = [*trusted, peer]
        return replace(client_of(peer, headers, trusted, session), key=key)
