"""The HTTP API, as the page asks it."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from diptych_serving.identity import PAGE_HEADER
from diptych_serving.page.problem import Problem, problem_of

CONNECT_TIMEOUT_S: Final = 10.0
FACTS_TIMEOUT_S: Final = 10.0
LIMITS_TIMEOUT_S: Final = 1.0
DRAWING: Final = httpx2.Timeout(None, connect=CONNECT_TIMEOUT_S)
"""How long a picture may take is the server's to say."""
Event = tuple[str, Mapping[str, Any]]
"""Kind and content: progress, preview or done."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks at the page. The API's limits and keys are for people, not for the page."""

    address: str
    forwarded: str = ""
    session: str = ""
    key: str = ""
    ticket: str = ""
    """The gateway's, by which it knows its page."""

    def headers(self) -> dict[str, str]:
        """Return what a proxy would add; the API believes it of its own page, and of `trustedProxies`."""
        hops = [hop for hop in (self.forwarded, self.address) if hop]
        headers = {"X-Forwarded-For": ", ".join(hops), "X-Session-Id": self.session, PAGE_HEADER: self.ticket}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        return {name: value for name, value in headers.items() if value}


@dataclass(frozen=True, slots=True)
class Offer:
    """What the deployment offers: the replies of /v1/deployment, /v1/models and /v1/examples."""

    deployment: Mapping[str, Any]
    models: list[Mapping[str, Any]] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    templates: list[str] = field(default_factory=list)

    @property
    def adapters(self) -> list[Mapping[str, Any]]:
        """The adapters, loaded or not."""
        return [model for model in self.models if model["kind"] == "adapter"]

    @property
    def strengths(self) -> dict[str, float]:
        """The adapters' own strengths by name."""
        return {str(adapter["id"]): float(adapter["strength"]) for adapter in self.adapters}


@dataclass(frozen=True, slots=True)
class Api:
    """The HTTP API at a URL, as replicas on this machine reach it."""

    url: str

    async def offer(self, visitor: Visitor) -> Offer:
        """Return what there is to choose from. Raises Problem, as while the base is loaded or for want of a key."""
        async with self._asking(visitor) as client:
            deployment = await _get(client, "/v1/deployment")
            models = await _get(client, "/v1/models")
            examples = await _get(client, "/v1/examples")
        templates = [str(template["name"]) for template in examples["templates"]]
        return Offer(deployment, models["data"], examples["prompts"], templates)

    async def limits(self, visitor: Visitor) -> list[Mapping[str, Any]] | None:
        """Return what is left of the visitor's limits; None where nobody tells it soon: no picture waits for it."""
        try:
            async with self._asking(visitor, LIMITS_TIMEOUT_S) as client:
                limits: list[Mapping[str, Any]] = (await _get(client, "/v1/limits"))["limits"]
        except Problem:
            return None
        return limits

    def _asking(self, visitor: Visitor, timeout_s: float = FACTS_TIMEOUT_S) -> httpx2.AsyncClient:
        headers = visitor.headers()
        return httpx2.AsyncClient(base_url=self.url, timeout=timeout_s, headers=headers, trust_env=False)

    async def compare(self, body: Mapping[str, Any], visitor: Visitor) -> AsyncGenerator[Event, None]:
        """Yield what happens to a comparison; whoever stops listening ends it. Raises Problem."""
        try:
            async with (
                httpx2.AsyncClient(base_url=self.url, timeout=DRAWING, trust_env=False) as client,
                client.sse(
                    "/v1/compare", method="POST", json=dict(body), headers=visitor.headers(), max_event_size=None
                ) as source,
            ):
                if source.response.status_code != httpx2.codes.OK:
                    await source.response.aread()
                    raise _problem(source.response)
                async for event in source:
                    values: Any = event.json()
                    if event.event == "error":
                        raise problem_of(values, source.response.status_code)
                    yield event.event, values
        except httpx2.TransportError as error:
            raise _unreachable() from error


async def _get(client: httpx2.AsyncClient, path: str) -> dict[str, Any]:
    try:
        answer = await client.get(path)
    except httpx2.TransportError as error:
        raise _unreachable() from error
    if answer.status_code != httpx2.codes.OK:
        raise _problem(answer)
    values: dict[str, Any] = answer.json()
    return values


def _problem(answer: httpx2.Response) -> Problem:
    try:
        values = answer.json()
    except ValueError:
        values = None
    return problem_of(values if isinstance(values, dict) else {}, answer.status_code)


def _unreachable() -> Problem:
    return Problem(502, "The server does not answer.", "It may be starting again: try in a minute.")
