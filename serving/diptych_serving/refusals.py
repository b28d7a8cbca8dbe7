"""Every way in which a request can be answered with no: one table for HTTP and gRPC."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from diptych_api.errors import AdapterInvalid, DiptychError, RetryLater, UserError
from diptych_serving.rate_limit import Refusal


class Code(Enum):
    """Reason, HTTP status, and the name of the gRPC code."""

    BAD_REQUEST = ("BadRequest", 400, "INVALID_ARGUMENT")
    INVALID = ("InvalidRequest", 422, "INVALID_ARGUMENT")
    UNAUTHENTICATED = ("Unauthenticated", 401, "UNAUTHENTICATED")
    FORBIDDEN = ("Forbidden", 403, "PERMISSION_DENIED")
    NOT_FOUND = ("NotFound", 404, "NOT_FOUND")
    CONFLICT = ("Conflict", 409, "ALREADY_EXISTS")
    TOO_LARGE = ("TooLarge", 413, "INVALID_ARGUMENT")
    LIMITED = ("Limited", 429, "RESOURCE_EXHAUSTED")
    CANCELLED = ("Cancelled", 499, "CANCELLED")
    INTERNAL = ("Internal", 500, "INTERNAL")
    UNAVAILABLE = ("Unavailable", 503, "UNAVAILABLE")
    TIMED_OUT = ("TimedOut", 504, "DEADLINE_EXCEEDED")

    def __init__(self, reason: str, status: int, grpc: str) -> None:
        self.reason = reason
        self.status = status
        self.grpc = grpc


KINDS: Final = {AdapterInvalid: Code.NOT_FOUND, UserError: Code.INVALID}


@dataclass(frozen=True, slots=True)
class Violation:
    """A field of the request and what is wrong with it."""

    field: str
    message: str


@dataclass(eq=False)
class Refused(Exception):  # noqa: N818 - what happened to the request
    """A request that is answered with no: why, what to do, and when to try again."""

    code: Code
    message: str
    hint: str = ""
    reason: str = ""
    retry_after_s: float | None = None
    violations: tuple[Violation, ...] = field(default=())

    def __post_init__(self) -> None:
        """Take the reason from the code where none is given."""
        super().__init__(self.message)
        self.reason = self.reason or self.code.reason

    def __reduce__(self) -> tuple[object, ...]:
        """Keep every part when it crosses a process boundary."""
        parts = (self.code, self.message, self.hint, self.reason, self.retry_after_s, self.violations)
        return (Refused, parts)

    @property
    def text(self) -> str:
        """Return message and hint on one line."""
        return f"{self.message} {self.hint}".strip()


def invalid(name: str, message: str, hint: str = "") -> Refused:
    """Return the refusal of one field."""
    return Refused(Code.INVALID, f"{name}: {message}", hint, violations=(Violation(name, f"{message} {hint}".strip()),))


def limited(refusal: Refusal) -> Refused:
    """Return the answer to a client that has had its share."""
    return Refused(Code.LIMITED, refusal.message, reason=refusal.reason, retry_after_s=refusal.retry_after_s)


def refusal_of(error: BaseException) -> Refused:
    """Return the answer to any error. What is not known is not told: the log has it."""
    match error:
        case Refused():
            return error
        case TimeoutError():
            return Refused(Code.TIMED_OUT, "The request took too long.", "Ask for fewer steps or smaller pictures.")
        case RetryLater():
            reason = "" if type(error) is RetryLater else error.reason
            return Refused(Code.UNAVAILABLE, error.message, error.hint, reason=reason, retry_after_s=5)
        case DiptychError():
            code = next((code for kind, code in KINDS.items() if isinstance(error, kind)), Code.INTERNAL)
            return Refused(code, error.message, error.hint, reason=error.reason)
        case _:
            return Refused(Code.INTERNAL, "Something went wrong here.", "The server's log tells what.")


def refusal_of_fields(errors: Sequence[Any], *, skip: int = 1) -> Refused:
    """Return the refusal of a body that does not fit, with every field that is wrong.

    ``errors`` are pydantic's; the first ``skip`` parts of their places are no fields.
    """
    violations = tuple(Violation(_field(error["loc"][skip:]), error["msg"]) for error in errors)
    first = violations[0]
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    message = f"{first.field}: {first.message}{more}" if first.field else f"{first.message}{more}"
    return Refused(Code.INVALID, message, violations=violations)


def _field(location: Sequence[str | int]) -> str:
    """Return a place in the body as people write it: arms[1].adapter."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")
