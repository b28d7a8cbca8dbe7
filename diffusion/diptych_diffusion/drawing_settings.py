"""How a picture is drawn. Free of torch, so that those who only ask for pictures start fast."""

from dataclasses import dataclass

from diptych_api.after import Scheduler


@dataclass(frozen=True, slots=True)
class Settings:
    """How a picture is drawn. ``height`` and ``width`` are pixels."""

    height: int
    width: int
    steps: int = 30
    guidance_scale: float = 7.5
    scheduler: Scheduler = "DDIM"
    eta: float = 0.0

    @property
    def rows(self) -> int:
        """Rows of a picture in each UNet call; at guidance 1 and below the negative prompt has no weight."""
        return 2 if self.guidance_scale > 1 else 1
