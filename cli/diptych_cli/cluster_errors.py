# ruff: noqa: N818 - the class name is the reason, as in diptych_api.errors
"""What an API server's refusals mean to people."""

import json
from collections.abc import Mapping
from typing import Any, Final

from diptych_api.errors import DiptychError, RetryLater, UserError

NOT_FOUND, UNAUTHORIZED, FORBIDDEN, CONFLICT, TOO_MANY = 404, 401, 403, 409, 429
SERVER_ERRORS: Final = 500
LONGEST_ANSWER: Final = 300
INSTALL: Final = "Install Diptych there: helm install diptych charts/diptych"


class Absent(UserError):
    """There is no such object, or the cluster does not know its kind."""


def unreachable(host: str, reason: object) -> RetryLater:
    """Return what to say when nobody answers."""
    return RetryLater(
        f"The cluster at {host} does not answer: {reason}.",
        hint="Check the connection, or name another cluster with --context or --kubeconfig.",
    )


def refusal(code: int, body: bytes, what: str) -> DiptychError:
    """Return what an answer with an error code means; ``what`` names the object or the list that was asked for."""
    status = _status(body)
    message = str(status.get("message", "")).rstrip(".") or f"the API server answered {code}"
    if code == NOT_FOUND:
        return _absent(status, message, what)
    if code == UNAUTHORIZED:
        return UserError("The cluster does not accept your credentials.", hint="Log in again, or check the kubeconfig.")
    if code in {CONFLICT, TOO_MANY} or code >= SERVER_ERRORS:
        return RetryLater(f"{message}.", hint="Try again.")
    hint = "Ask for the right, or name another namespace with -n." if code == FORBIDDEN else ""
    return UserError(f"{message}.", hint=hint)


def _absent(status: Mapping[str, Any], message: str, what: str) -> Absent:
    """Return what is not there: the object, or its kind."""
    if status.get("details", {}).get("name"):
        return Absent(f"There is no {what}.", hint="List what there is: diptych get -A")
    return Absent(f"The cluster does not know {what}: {message}.", hint=INSTALL)


def _status(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    return told if isinstance(told, dict) else {"message": body[:LONGEST_ANSWER].decode(errors="replace").strip()}
