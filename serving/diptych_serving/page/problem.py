"""What went wrong, told to people in their words: never a stack trace."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Final

TITLES: Final = {
    401: "This server wants an API key",
    403: "This API key is not for comparing",
    404: "That is not there",
    413: "That is too much for one request",
    422: "Something in the request is wrong",
    429: "A limit is reached",
    502: "The server cannot be reached",
    503: "The server is not ready",
    504: "That took too long",
}
NAMES: Final = {
    "prompt": "Prompt",
    "negative_prompt": "Negative prompt",
    "template": "Template",
    "seed": "Seed",
    "steps": "Steps",
    "guidance_scale": "Guidance",
    "scheduler": "Scheduler",
    "eta": "Eta",
    "width": "Width",
    "height": "Height",
    "arms": "Sides",
}
"""Fields of a request, as the page calls them."""
MINUTE: Final = 60
HOUR: Final = 3600
WANTS_KEY: Final = (401, 403)


@dataclass(eq=False)
class Problem(Exception):  # noqa: N818 - what RFC 9457 calls it
    """A request that was answered with no. ``errors`` are fields and what is wrong with them."""

    status: int
    detail: str
    hint: str = ""
    reason: str = ""
    retry_after_s: float | None = None
    errors: tuple[tuple[str, str], ...] = ()


def problem_of(values: Mapping[str, Any], status: int) -> Problem:
    """Return the problem that a problem+json object tells; ``status`` is that of HTTP where it has none."""
    retry_after_s = values.get("retry_after_seconds")
    return Problem(
        status=int(values.get("status", status)),
        detail=str(values.get("detail", f"The server answered {status}.")),
        hint=str(values.get("hint", "")),
        reason=str(values.get("reason", "")),
        retry_after_s=None if retry_after_s is None else float(retry_after_s),
        errors=tuple((str(error["field"]), str(error["message"])) for error in values.get("errors", ())),
    )


def problem_html(problem: Problem) -> str:
    """Return the box that the page shows."""
    title = TITLES.get(problem.status, "That did not work")
    lines = [f"{field_name(field)}: {message}" for field, message in problem.errors]
    lines = lines or [f"{_with_names(problem.detail)} {problem.hint}".strip()]
    if problem.retry_after_s is not None:
        lines.append(f"Try again in {duration(problem.retry_after_s)}.")
    reason = f"<code>{escape(problem.reason)}</code>" if problem.reason else ""
    text = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f'<div class="problem" role="alert"><strong>{escape(title)}</strong>{reason}{text}</div>'


def field_name(field: str) -> str:
    """Return what the page calls a field such as arms[1].adapter; of arms, which side it is."""
    top, _, rest = field.partition("[")
    name = NAMES.get(top.partition(".")[0], field)
    number = rest.partition("]")[0]
    return f"{name}, number {int(number) + 1}" if number.isdecimal() else name


def _with_names(detail: str) -> str:
    """Return a sentence that may begin with a field, with the page's name of it."""
    field, colon, rest = detail.partition(": ")
    return f"{field_name(field)}{colon}{rest}" if colon and field_name(field) != field else detail


def duration(seconds: float) -> str:
    """Return a wait as people say it, never less than a second."""
    for size, unit in ((HOUR, "hour"), (MINUTE, "minute"), (1, "second")):
        if seconds >= size or size == 1:
            count = max(1, -int(-seconds // size))
            return f"{count} {unit}{'' if count == 1 else 's'}"
    raise AssertionError
