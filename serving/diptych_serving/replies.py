"""From drawn pictures to what clients get."""

import base64
import time
from collections.abc import Sequence
from typing import Any

from diptych_serving.bodies import (
    BaseReply,
    GridReply,
    GridRowReply,
    ImageFormat,
    ImageReply,
    PicturesReply,
    SettingsReply,
    TimingReply,
)
from diptych_serving.image_request import Arm, Image, ImageRequest
from diptych_serving.pictures import encode_picture, sheet_of
from diptych_serving.replica_facts import BaseFacts
from diptych_serving.service import Drawn


def pictures_reply(
    name: str, drawn: Sequence[Drawn], base: BaseFacts, started: float, form: ImageFormat, *, grid: bool = False
) -> PicturesReply:
    """Return the reply with every picture encoded. Slow: call it in a thread. ``started`` is of time.monotonic."""
    images = [image for one in drawn for image in _images(one, base, form)]
    sheet = _grid(drawn) if grid else None
    return PicturesReply(
        id=name,
        images=images,
        grid=None if sheet is None else base64.b64encode(sheet).decode(),
        settings=settings_reply(drawn[0].request),
        base=base_reply(base),
        timing=timing_reply(drawn, started),
    )


def grid_reply(name: str, drawn: Sequence[Drawn], base: BaseFacts, started: float, form: ImageFormat) -> GridReply:
    """Return the rows and the sheet of them. Slow: call it in a thread."""
    rows = [GridRowReply(images=_images(one, base, form), settings=settings_reply(one.request)) for one in drawn]
    labels = _labels(drawn[0])
    titles = [f"{one.request.prompt}\n· {one.request.seed}" for one in drawn]
    sheet = sheet_of([[image.picture for image in one.images] for one in drawn], labels, titles)
    grid = base64.b64encode(sheet).decode()
    return GridReply(id=name, rows=rows, grid=grid, base=base_reply(base), timing=timing_reply(drawn, started))


def base_reply(base: BaseFacts) -> BaseReply:
    """Return the base that drew."""
    return BaseReply(name=base.name, digest=base.digest, dtype=base.dtype, device=base.device)


def settings_reply(request: ImageRequest) -> SettingsReply:
    """Return everything but the seed and the adapter."""
    s = request.settings
    return SettingsReply(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        steps=s.steps,
        guidance_scale=s.guidance_scale,
        scheduler=s.scheduler,
        eta=s.eta,
        height=s.height,
        width=s.width,
    )


def timing_reply(drawn: Sequence[Drawn], started: float) -> TimingReply:
    """Return where the time of the slowest went."""
    slowest = max((one.timing for one in drawn), key=lambda t: t.queue_s + t.encode_s + t.denoise_s + t.decode_s)
    return TimingReply(
        queue_ms=_ms(slowest.queue_s),
        encode_ms=_ms(slowest.encode_s),
        denoise_ms=_ms(slowest.denoise_s),
        decode_ms=_ms(slowest.decode_s),
        total_ms=_ms(time.monotonic() - started),
        cached=all(one.timing.is_cached for one in drawn),
        rows=sum(one.request.rows for one in drawn),
        steps=drawn[0].request.settings.steps,
    )


def label(arm: Arm, *, degraded: bool = False) -> str:
    """Return the name of a side, as it stands over its picture."""
    if degraded:
        return f"base instead of {arm.adapter}"
    if arm.adapter is None:
        return "base"
    return arm.adapter if arm.strength == 1 else f"{arm.adapter}:{arm.strength:g}"


def _grid(drawn: Sequence[Drawn]) -> bytes:
    pictures = [image.picture for one in drawn for image in one.images]
    labels = [text for one in drawn for text in _labels(one)]
    first = drawn[0].request
    record = {**settings_reply(first).model_dump(), "seed": first.seed, "sides": labels}
    return sheet_of([pictures], labels, record=record)


def _labels(drawn: Drawn) -> list[str]:
    return [label(arm, degraded=number in drawn.degraded) for number, arm in enumerate(drawn.request.arms)]


def _images(drawn: Drawn, base: BaseFacts, form: ImageFormat) -> list[ImageReply]:
    return [_image(drawn, number, image, base, form) for number, image in enumerate(drawn.images)]


def _image(drawn: Drawn, number: int, image: Image, base: BaseFacts, form: ImageFormat) -> ImageReply:
    asked, degraded = drawn.request.arms[number], drawn.degraded.get(number)
    adapter = asked.adapter if degraded is None else None
    strength = asked.strength if adapter is not None else None
    record: dict[str, Any] = {
        **settings_reply(drawn.request).model_dump(),
        "seed": drawn.request.seed,
        "base": base.name,
        "base_digest": base.digest,
        "adapter": adapter,
        "adapter_digest": image.adapter_digest,
        "strength": strength,
        "dtype": base.dtype,
        "flagged": image.flagged,
    }
    return ImageReply(
        image=base64.b64encode(encode_picture(image.picture, form, record)).decode(),
        format=form,
        seed=drawn.request.seed,
        adapter=adapter,
        adapter_digest=image.adapter_digest,
        strength=strength,
        requested_adapter=asked.adapter,
        degraded=degraded,
        flaw=image.flaw,
        flagged=image.flagged,
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
