"""What `diptych promote` was asked for, on a cluster or on this machine."""

from dataclasses import dataclass

from diptych_api.errors import UserError


@dataclass(frozen=True, slots=True)
class PromoteRequest:
    """A run, the version before, or no pin."""

    model: str
    run: str | None = None
    rollback: bool = False
    unpin: bool = False

    @property
    def asks(self) -> int:
        """The number of things that were asked for."""
        return sum((self.run is not None, self.rollback, self.unpin))

    def check(self, hint: str) -> None:
        """Raise UserError unless one thing was asked for."""
        if self.asks != 1:
            raise UserError(
                "Say what the model should stand for: a RUN, --rollback or --unpin, one of them.", hint=hint
            )

    def told(self, run: str | None) -> str:
        """Return what was done."""
        told = "follows promotion again" if run is None else f"stands for {run}, whatever is promoted"
        return f"✓ {self.model} {told}."
