"""What happens to a request, told in JSON: progress, previews, and at the end the reply or what went wrong."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

from fastapi.sse import format_sse_event

from diptych_serving.answers import AnyBody, AnyReply, any_reply
from diptych_serving.bodies import ImageFormat
from diptych_serving.http_errors import problem
from diptych_serving.image_request import Event, Preview, Progress
from diptych_serving.pictures import encode_picture
from diptych_serving.refusals import Code, Refused, refusal_of
from diptych_serving.service import Admitted
from diptych_serving.streams import told

Kind = Literal["progress", "preview", "done", "error", "cancelled"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Update:
    """One thing that happened; ``data`` is JSON. The last one has the outcome as an object too."""

    kind: Kind
    data: str
    outcome: AnyReply | Refused | None = None
    picture: int = 0
    step: int = 0

    @property
    def is_last(self) -> bool:
        """Whether nothing follows."""
        return self.kind in ("done", "error", "cancelled")

    def sse(self) -> bytes:
        """Return it as a server-sent event."""
        return format_sse_event(event=self.kind, data_str=self.data)


async def updates(admitted: Admitted, body: AnyBody) -> AsyncIterator[Update]:
    """Draw what was let in and yield what happens, last of it `done` with the reply or `error` with a problem."""
    try:
        async for item in told(admitted):
            if isinstance(item, list):
                reply = await any_reply(admitted, body, item)
                yield Update("done", reply.model_dump_json(), reply)
            elif (update := await asyncio.to_thread(_update, *item, body.format)) is not None:
                yield update
    except Exception as error:  # noqa: BLE001 -- the answer has begun; the rest of it tells
        yield failure(error)


async def sse(told: AsyncIterator[Update]) -> AsyncIterator[bytes]:
    """Yield updates as server-sent events; what breaks on the way is the last one."""
    try:
        async for update in told:
            yield update.sse()
    except Exception as error:  # noqa: BLE001 -- the answer has begun; the rest of it tells
        yield failure(error).sse()


def failure(error: BaseException) -> Update:
    """Return the last update of what failed."""
    refused = refusal_of(error)
    if refused.code is Code.INTERNAL:
        _log.error("A stream failed.", exc_info=error)
    return Update("error", json.dumps(problem(refused)), refused)


def _update(number: int, event: Event, form: ImageFormat) -> Update | None:
    match event:
        case Progress():
            data = json.dumps({"picture": number, "step": event.step, "total": event.total})
            return Update("progress", data, picture=number, step=event.step)
        case Preview():
            images = [base64.b64encode(encode_picture(picture, form)).decode() for picture in event.pictures]
            data = json.dumps({"picture": number, "step": event.step, "images": images})
            return Update("preview", data, picture=number, step=event.step)
    return None
