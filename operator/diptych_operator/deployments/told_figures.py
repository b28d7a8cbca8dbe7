"""How fast a deployment is, as its gateway tells it; what is not told stays as it was."""

from math import floor, log10
from typing import Any

from diptych_api.deploymentstatus import ColdStart, Performance
from diptych_api.readiness import Readiness, StartReadiness
from diptych_operator.child import Pod, moment
from diptych_operator.deployments.look import Look
from diptych_operator.deployments.told_adapters import digest_of

DIGITS = 2
LONGEST_HOST = 63


def figures(look: Look, pods: list[Pod]) -> dict[str, Any]:
    """Return the figures by their fields of the status."""
    told = look.seen.told.readiness if look.seen.told else None
    if told is None:
        return {}
    return {
        "base_digest": digest_of(told.base_digest) or look.status.base_digest,
        "performance": _performance(told, look),
        "cold_start": _cold_start(told.start, look, pods),
    }


def p50_column(performance: Performance) -> str:
    """Return the median as a column shows it."""
    return "" if performance.p50_seconds is None else f"{performance.p50_seconds:g}s"


def _performance(told: Readiness, look: Look) -> Performance:
    """Return the figures in two digits, so that a status is not written for every request."""
    values = told.performance
    if values.p50_seconds is None:
        return look.status.performance
    return Performance(
        p50_seconds=_rounded(values.p50_seconds),
        p95_seconds=_rounded(values.p95_seconds),
        images_per_minute=_rounded(values.images_per_minute),
    )


def _rounded(value: float | None) -> float | None:
    return value if not value else round(value, DIGITS - 1 - floor(log10(value)))


def _cold_start(start: StartReadiness | None, look: Look, pods: list[Pod]) -> ColdStart | None:
    """Return the last start from nothing. One beside engines that were there is none."""
    known = look.status.cold_start
    if start is None or (known is not None and len(pods) > 1):
        return known
    pod = next((pod for pod in pods if pod.name[:LONGEST_HOST] == start.pod[:LONGEST_HOST]), None)
    if pod is None or pod.created is None:
        return known
    conditions = pod.status.get("conditions") or ()
    scheduled = [moment(one.get("lastTransitionTime")) for one in conditions if one.get("type") == "PodScheduled"]
    return ColdStart(
        last_seconds=round(max(start.ready - pod.created.timestamp(), 0), 1),
        node_seconds=next((max((at - pod.created).total_seconds(), 0) for at in scheduled if at is not None), None),
        weights_seconds=start.weights_seconds,
        warmup_seconds=start.warmup_seconds,
    )
