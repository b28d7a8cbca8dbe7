"""What a pod that publishes says as it ends: it has no account to write a report with."""

from pydantic import Field

from diptych_api.fields import Location, Record
from diptych_api.report import Failure

LONGEST = 4096
"""Bytes that Kubernetes keeps of a container's last word."""


class LastWord(Record):
    """The message with which the container ended, as JSON."""

    published: list[Location] = Field(default=[], max_length=4, description="Where the artifact is now.")
    message: str = Field(default="", max_length=1024, description="What was sent, in sentences.")
    failure: Failure | None = Field(default=None, description="Why it was not published.")
