"""Errors on HTTP: problem+json (RFC 9457), or the OpenAI shape on its routes."""

import logging
import math
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from diptych_serving.refusals import Code, Refused, refusal_of, refusal_of_fields

OPENAI_ROUTES: Final = ("/v1/images/", "/v1/models/")
MEDIA_TYPE: Final = "application/problem+json"
PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"description": text, "content": {MEDIA_TYPE: {}}}
    for code, text in {
        400: "It cannot be read.",
        401: "There is no API key, or it is unknown.",
        403: "The API key is not for this.",
        404: "There is no such adapter, template or job.",
        409: "The idempotency key was used for another request.",
        413: "Too much work for one request.",
        422: "A field is wrong; `errors` names it.",
        429: "A limit is reached, or the queue is full. Try again after Retry-After.",
        503: "The base is not loaded yet. Try again after Retry-After.",
        504: "It took too long.",
    }.items()
}
LISTING: dict[int | str, dict[str, Any]] = {code: PROBLEMS[code] for code in (401, 403, 503)}
STREAM: Final[dict[str, Any]] = {
    "text/event-stream": {
        "schema": {
            "type": "object",
            "description": "One server-sent event. Its data is JSON; done holds the reply, error a problem.",
            "required": ["event", "data"],
            "properties": {
                "event": {"enum": ["progress", "preview", "done", "error", "cancelled"]},
                "data": {"type": "string"},
            },
        }
    }
}
"""What a stream holds, as OpenAPI says it."""
_log = logging.getLogger(__name__)


def install(app: FastAPI) -> None:
    """Answer every error of the app in one of the two shapes."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        return answer(request.url.path, error)

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: RequestValidationError) -> JSONResponse:
        return answer(request.url.path, refusal_of_fields(error.errors()))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        codes = {code.status: code for code in Code}
        code = codes.get(error.status_code, Code.NOT_FOUND if error.status_code < 500 else Code.INTERNAL)  # noqa: PLR2004
        return answer(request.url.path, Refused(code, str(error.detail)), status=error.status_code)

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> JSONResponse:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return answer(request.url.path, refusal_of(error))


def answer(path: str, error: Refused, *, status: int | None = None) -> JSONResponse:
    """Return the answer in the shape of the route."""
    headers = {} if error.retry_after_s is None else {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}
    status = error.code.status if status is None else status
    if path.startswith(OPENAI_ROUTES):
        return JSONResponse(openai_error(error), status, headers)
    return JSONResponse(problem(error, status), status, headers, media_type=MEDIA_TYPE)


def problem(error: Refused, status: int | None = None) -> dict[str, Any]:
    """Return a refusal as the members of a problem (RFC 9457)."""
    values: dict[str, Any] = {
        "type": "about:blank",
        "title": error.code.reason,
        "status": error.code.status if status is None else status,
        "detail": error.message,
        "reason": error.reason,
    }
    if error.hint:
        values["hint"] = error.hint
    if error.violations:
        values["errors"] = [{"field": v.field, "message": v.message} for v in error.violations]
    if error.retry_after_s is not None:
        values["retry_after_seconds"] = error.retry_after_s
    return values


def openai_error(error: Refused) -> dict[str, Any]:
    """Return a refusal as OpenAI's clients read it."""
    kind = "invalid_request_error" if error.code.status < 500 else "server_error"  # noqa: PLR2004
    param = error.violations[0].field if error.violations else None
    return {"error": {"message": error.text, "type": kind, "param": param, "code": error.reason}}
