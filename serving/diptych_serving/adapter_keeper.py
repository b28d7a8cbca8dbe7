"""Keeps the slot bank as the registry wants it, while pictures are drawn."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch

from diptych_api.errors import AdapterInvalid, DiptychError, UserError
from diptych_api.servingconfig import ServedAdapter
from diptych_api.training import Method
from diptych_diffusion.adapter_files import load_adapter
from diptych_diffusion.adapter_source import artifact_digest, artifact_step
from diptych_diffusion.components import Components
from diptych_diffusion.held import Held, Slot
from diptych_diffusion.slot_bank import SlotBank
from diptych_diffusion.unet_files import is_unet, load_unet
from diptych_serving.replica_facts import AdapterFacts

ATTEMPTS: Final = 5
PAUSE_S: Final = 2.0
_log = logging.getLogger(__name__)


class AdapterKeeper:
    """Loads, replaces and unloads adapters; says how each one is. All methods belong to one event loop."""

    def __init__(
        self, bank: SlotBank, base: Components, fetch: Callable[[str], Path], *, pause_s: float = PAUSE_S
    ) -> None:
        self.bank = bank
        self.base = base
        self._fetch = fetch
        self._pause_s = pause_s
        self._wanted: dict[str, ServedAdapter] = {}
        self._facts: dict[str, AdapterFacts] = {}
        self._changed = asyncio.Condition()

    @property
    def facts(self) -> Mapping[str, AdapterFacts]:
        """How each wanted adapter is, as of now."""
        return dict(self._facts)

    async def follow(self, adapters: list[ServedAdapter]) -> None:
        """Bring the bank to these adapters; return when each is loaded, waits for its files or has finally failed.

        What is loaded already stays as it is. An adapter that is replaced is served until the new one is there or has
        failed; one that has failed is tried again, and counts as failed meanwhile.
        """
        before, self._wanted = self._wanted, {adapter.name: adapter for adapter in adapters}
        for name in before.keys() - self._wanted.keys():
            await self._drop(name, None)
        for adapter in adapters:
            if adapter.uri is None:
                await self._drop(adapter.name, AdapterFacts(adapter.name, "Waiting", message="It has no files yet."))
            elif adapter.name not in self._facts or self._now(adapter.name).state == "Waiting":
                await self._note(adapter.name, AdapterFacts(adapter.name, "Loading"))
        for adapter in adapters:
            is_as_wanted = _same_files(adapter, before.get(adapter.name)) and self._is_loaded(adapter.name)
            if adapter.uri is not None and not is_as_wanted:
                facts = await self._load(adapter, adapter.uri)
                await self._note(adapter.name, replace(facts, mark=adapter.mark))

    async def settled(self, name: str, timeout_s: float) -> AdapterFacts:
        """Return how an adapter is, after waiting for one that is being loaded, but not for ever."""
        async with self._changed:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait_for(lambda: self._now(name).state != "Loading")
            except TimeoutError:
                pass
            return self._now(name)

    async def _load(self, adapter: ServedAdapter, uri: str) -> AdapterFacts:
        """Load, and try again what may pass by itself."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                slot, step = await asyncio.to_thread(self._load_now, adapter, uri)
            except UserError as error:
                return self._failed(adapter.name, str(error))
            except (DiptychError, OSError) as error:
                if attempt == ATTEMPTS:
                    return self._failed(adapter.name, f"{error} Tried {ATTEMPTS} times.")
                await asyncio.sleep(self._pause_s * attempt)
            except torch.OutOfMemoryError as error:
                return self._failed(adapter.name, f"The device has too little memory for it beside the others: {error}")
            except Exception:  # noqa: BLE001 -- one bad file must not stop the others
                _log.exception("Adapter %s could not be loaded.", adapter.name)
                return self._failed(adapter.name, "It could not be loaded; the log tells why.")
            else:
                return self._loaded(slot, step)
        raise AssertionError

    def _load_now(self, adapter: ServedAdapter, uri: str) -> tuple[Held, int | None]:
        path = self._fetch(uri)
        slot = self._prepared(adapter.name, path)
        if adapter.digest not in (None, slot.digest) and adapter.digest != artifact_digest(path):
            raise AdapterInvalid(
                f"Adapter {adapter.name} has digest {slot.digest}, not {adapter.digest}.", hint="Check its uri."
            )
        step = artifact_step(path)
        self.bank.put(slot)
        return slot, step

    def _prepared(self, name: str, path: Path) -> Held:
        if is_unet(path):
            return self.bank.prepared_unet(name, load_unet(path, self.base))
        weights = load_adapter(path)
        made_for = None if weights.base is None else weights.base.digest.removeprefix("sha256:")
        if made_for not in (None, self.base.digest):
            raise AdapterInvalid(
                f"Adapter {name} was made for another base (sha256:{str(made_for)[:12]}…).",
                hint="Serve it with the base that it was trained on.",
            )
        return self.bank.prepared(name, weights)

    def _loaded(self, held: Held, step: int | None) -> AdapterFacts:
        method: Method = "LoRA" if isinstance(held, Slot) else "FullUNet"
        _log.info("Adapter %s is loaded: %s, %.1f MiB.", held.name, method, held.bytes / 2**20)
        return AdapterFacts(
            *(held.name, "Loaded", held.digest),
            method=method,
            identity=held.identity,
            rank=held.rank,
            bytes=held.bytes,
            step=step,
        )

    def _failed(self, name: str, message: str) -> AdapterFacts:
        """Nobody may get an old adapter under the name of one that failed."""
        self.bank.unload(name)
        _log.error("Adapter %s failed: %s", name, message)
        return AdapterFacts(name, "Failed", message=message)

    async def _drop(self, name: str, facts: AdapterFacts | None) -> None:
        self.bank.unload(name)
        await self._note(name, facts)

    def _is_loaded(self, name: str) -> bool:
        return self._now(name).state == "Loaded"

    def _now(self, name: str) -> AdapterFacts:
        return self._facts.get(name, AdapterFacts(name, "Waiting", message="This replica does not know it yet."))

    async def _note(self, name: str, facts: AdapterFacts | None) -> None:
        async with self._changed:
            if facts is None:
                self._facts.pop(name, None)
            else:
                self._facts[name] = facts
            self._changed.notify_all()


def _same_files(new: ServedAdapter, old: ServedAdapter | None) -> bool:
    return old is not None and (new.uri, new.digest) == (old.uri, old.digest)
