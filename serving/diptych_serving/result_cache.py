"""Pictures that are kept: the same request to the same weights is drawn once."""

import time
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from typing import Final

from cachetools import TTLCache

from diptych_api.diffusiondeployment import ResultCache
from diptych_serving.degrade import Degraded
from diptych_serving.directory import Directory
from diptych_serving.image_request import Event, Finished, Image, ImageRequest, Timing
from diptych_serving.service import Engines

Images = tuple[Image, ...]
Identities = tuple[str | None, ...]
Key = tuple[object, ...]
KEPT: Final = Timing(0, 0, 0, 0, is_cached=True)


class CachedEngines:
    """Engines before which whole pictures are kept, the least recently used leaving first.

    What is kept belongs to the base's digest, the adapters' weights and scales, the arithmetic and the version of
    Diptych. A picture that is flawed or flagged, or that the base drew in place of an adapter, is not kept; one that no
    safety checker looked at is not given while pictures are checked.
    """

    def __init__(
        self,
        engines: Engines,
        directory: Directory,
        bounds: ResultCache,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engines = engines
        self._directory = directory
        self._kept: TTLCache[Key, Images] = TTLCache(bounds.max_bytes, bounds.ttl_seconds, timer=clock, getsizeof=_size)

    async def draw(self, request: ImageRequest) -> AsyncIterator[Event | Degraded]:
        """Yield what happens to a request; one that was drawn before is finished at once."""
        identities = self._identities(request)
        key = None if identities is None else self._key(request, identities)
        if key is not None and (images := self._kept.get(key)) is not None and self._may_be_shown(images):
            yield Finished(images, KEPT)
            return
        async for event in self._engines.draw(request):
            if key is not None and isinstance(event, Finished) and _is_fit(event.images, identities):
                self._keep(key, event.images)
            yield event

    def _keep(self, key: Key, images: Images) -> None:
        if _size(images) <= self._kept.maxsize:
            self._kept[key] = images

    def _identities(self, request: ImageRequest) -> Identities | None:
        """Return what each arm draws with, or None where that is not known for sure."""
        known = {facts.name: facts.identity for facts in self._directory.adapters() if facts.state == "Loaded"}
        wanted = [arm.adapter for arm in request.arms]
        if any(name is not None and known.get(name) is None for name in wanted):
            return None
        return tuple(None if name is None else known[name] for name in wanted)

    def _may_be_shown(self, images: Images) -> bool:
        base, config = self._directory.last_base, self._directory.config
        must_be_checked = base is not None and base.has_checker and (config is None or config.safety.enabled)
        return not must_be_checked or all(image.checked for image in images)

    def _key(self, request: ImageRequest, identities: Identities) -> Key | None:
        base = self._directory.last_base
        if base is None:
            return None
        sides = tuple(zip(identities, (arm.strength for arm in request.arms), strict=True))
        asked = (request.prompt, request.negative_prompt, request.seed, request.settings, sides)
        return (*asked, base.digest, base.dtype, base.device, version("diptych"))


def _is_fit(images: Images, identities: Identities | None) -> bool:
    """Whether these pictures may be given again: sound, and drawn with what was expected."""
    is_as_expected = identities == tuple(image.adapter_identity for image in images)
    return is_as_expected and not any(image.flaw or image.flagged for image in images)


def _size(images: Images) -> int:
    return sum(image.picture.nbytes for image in images)
