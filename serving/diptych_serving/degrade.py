"""What happens to an arm whose adapter is not there: the base draws, and the reply says so."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from diptych_serving.image_request import Arm, ImageRequest
from diptych_serving.replica_facts import AdapterFacts


@dataclass(frozen=True, slots=True)
class Degraded:
    """Why the base draws in place of an adapter, by the number of the arm."""

    reasons: Mapping[int, str]


def fit_to(request: ImageRequest, facts: Mapping[str, AdapterFacts]) -> tuple[ImageRequest, Degraded]:
    """Return the request with the base in place of each adapter that is not loaded, and why."""
    arms, reasons = list(request.arms), {}
    for number, arm in enumerate(request.arms):
        if arm.adapter is not None and (adapter := facts[arm.adapter]).state != "Loaded":
            arms[number] = Arm()
            how = "could not be loaded" if adapter.state == "Failed" else "is not loaded yet"
            reasons[number] = f"Adapter {adapter.name} {how}. {adapter.message}".strip()
    return replace(request, arms=tuple(arms)), Degraded(reasons)
