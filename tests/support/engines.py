"""Waiting for an engine, as a gateway does."""

import queue
from collections.abc import Sequence

from diptych_serving.engine import Engine
from diptych_serving.image_request import Event, Failed, Finished, ImageRequest


def draw(engine: Engine, requests: Sequence[ImageRequest]) -> list[Finished]:
    """Return the pictures of requests that are drawn together. Raises what the first that fails raises."""
    inboxes: list[queue.SimpleQueue[Event]] = [queue.SimpleQueue() for _ in requests]
    for request, inbox in zip(requests, inboxes, strict=True):
        engine.submit(request, inbox.put)
    return [until_finished(inbox)[-1] for inbox in inboxes]


def until_finished(inbox: "queue.SimpleQueue[Event]") -> tuple[list[Event], Finished]:
    """Return everything that was told, and the last of it. Raises what a failed request raises."""
    told: list[Event] = []
    while True:
        event = inbox.get(timeout=120)
        told.append(event)
        if isinstance(event, Failed):
            raise event.error
        if isinstance(event, Finished):
            return told, event
