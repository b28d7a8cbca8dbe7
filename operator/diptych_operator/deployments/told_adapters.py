"""How the adapters of a deployment are: what jobs and models say of them, and what engines say of their files."""

from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from diptych_api.deploymentstatus import AdapterStatus, DeploymentPhase
from diptych_api.fields import Digest
from diptych_api.readiness import AdapterReadiness
from diptych_api.servingconfig import ServedAdapter
from diptych_operator.deployments.found_adapters import FoundAdapter
from diptych_operator.deployments.look import Look

ANSWERS: Final = frozenset({"Ready", "Updating", "Degraded"})
"""Phases in which a gateway may answer."""
SETTLED: Final = frozenset({"Loaded", "Failed"})
LONGEST_MESSAGE: Final = 1024
_digest: Final = TypeAdapter[str](Digest)


def adapters_of(look: Look, phase: DeploymentPhase) -> tuple[AdapterStatus, ...]:
    """Return the state of each adapter, in their order."""
    return tuple(_adapter(look, found, phase) for found in look.adapters)


def failed(adapters: tuple[AdapterStatus, ...]) -> list[AdapterStatus]:
    """Return those that have finally failed."""
    return [adapter for adapter in adapters if adapter.state == "Failed"]


def _adapter(look: Look, found: FoundAdapter, phase: DeploymentPhase) -> AdapterStatus:
    given = found.served
    known: dict[str, Any] = {"name": given.name, "uri": given.uri, "digest": given.digest, "run": given.run}
    if found.state != "Found":
        return AdapterStatus(state=found.state, message=found.message, **known)
    if look.seen.told is None:
        return AdapterStatus(state="Loaded" if phase == "Ready" else "Loading", **known)
    if phase not in ANSWERS:
        return AdapterStatus(state="Loading", **known)
    if (news := _news(look, given)) is not None:
        return _told(news, known)
    before = _before(look, given)
    if before is not None and before.state in SETTLED:
        return before
    return AdapterStatus(state="Loading", message=look.seen.told.trouble[:LONGEST_MESSAGE], **known)


def _news(look: Look, given: ServedAdapter) -> AdapterReadiness | None:
    """Return what engines say of these very files."""
    told = look.seen.told.readiness if look.seen.told else None
    news = told.adapters.get(given.name) if told is not None and told.replicas else None
    return news if news is not None and news.mark == given.mark else None


def _told(news: AdapterReadiness, known: dict[str, Any]) -> AdapterStatus:
    known["digest"] = known["digest"] or digest_of(news.digest)
    state = news.state if news.state in SETTLED else "Loading"
    message = news.message[:LONGEST_MESSAGE] if state == "Failed" else ""
    return AdapterStatus(state=state, message=message, from_step=news.step, **known)


def _before(look: Look, given: ServedAdapter) -> AdapterStatus | None:
    """Return what was known of these very files: an operator that starts anew has heard nothing yet."""
    known = next((one for one in look.status.adapters if one.name == given.name), None)
    same = known is not None and (known.uri, known.run) == (given.uri, given.run)
    return known if known is not None and same and given.digest in (None, known.digest) else None


def digest_of(text: str | None) -> str | None:
    """Return a digest that a gateway told, if it is one."""
    try:
        return None if text is None else _digest.validate_python(text)
    except ValidationError:
        return None
