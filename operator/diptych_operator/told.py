"""What the gateway of a deployment said when it was asked last."""

from dataclasses import dataclass

from diptych_api.readiness import Readiness


@dataclass(frozen=True, slots=True)
class Told:
    """An answer, and why there is no newer one where it did not come."""

    readiness: Readiness | None = None
    trouble: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether nothing is on its way."""
        told = self.readiness
        states = {adapter.state for adapter in told.adapters.values()} if told is not None else {"Loading"}
        return not self.trouble and told is not None and told.ready and "Loading" not in states
