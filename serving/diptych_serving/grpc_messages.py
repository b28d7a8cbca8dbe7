"""Between the messages of gRPC and what the rest of the service speaks."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from diptych_serving.bodies import CompareBody, GenerateBody, ModelReply, PicturesReply
from diptych_serving.image_request import Event, Preview, Progress
from diptych_serving.pictures import encode_picture
from diptych_serving.v1 import images_pb2 as pb


def generate_body(request: pb.GenerateRequest) -> GenerateBody:
    """Return the request as HTTP has it. Raises pydantic's ValidationError."""
    n = {"n": request.n} if request.HasField("n") else {}
    return GenerateBody.model_validate({**_params(request.params), **_given(request.arm), **n})


def compare_body(request: pb.CompareRequest) -> CompareBody:
    """Return the request as HTTP has it. Raises pydantic's ValidationError."""
    arms = {"arms": [_given(arm) for arm in request.arms]} if request.arms else {}
    return CompareBody.model_validate({**_params(request.params), **arms, "grid": request.grid})


def pictures_message(reply: PicturesReply) -> pb.PicturesReply:
    """Return the reply with its pictures as bytes."""
    values = reply.model_dump(exclude_none=True)
    images = [{**image, "image": base64.b64decode(image["image"])} for image in values["images"]]
    grid = {"grid": base64.b64decode(values["grid"])} if "grid" in values else {}
    return pb.PicturesReply(**{**values, "images": images, **grid})


def models_message(models: Sequence[ModelReply]) -> pb.ListModelsReply:
    """Return the base and the adapters."""
    values = [model.model_dump(exclude_none=True, exclude={"object"}) for model in models]
    return pb.ListModelsReply(models=[pb.Model(**value) for value in values])


def event_message(number: int, event: Event) -> pb.Event | None:
    """Return what is told on the way, or None for what is not."""
    match event:
        case Progress():
            return pb.Event(progress=pb.Progress(picture=number, step=event.step, total=event.total))
        case Preview():
            images = [encode_picture(picture, "jpeg") for picture in event.pictures]
            return pb.Event(preview=pb.Preview(picture=number, step=event.step, images=images))
    return None


def _params(params: pb.Params) -> Mapping[str, Any]:
    values = {name: value for name, value in _given(params).items() if name != "preview_every"}
    return {"prompt": params.prompt, **values}


def _given(message: Message) -> dict[str, Any]:
    return {field.name: value for field, value in message.ListFields()}
