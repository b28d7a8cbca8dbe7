"""One step of the pictures of one size; in several forward passes where memory is too small for all their rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from diptych_api.errors import DeviceOutOfMemory
from diptych_diffusion.components import Components
from diptych_diffusion.drawings import Drawing, predict
from diptych_diffusion.out_of_memory import in_pieces, is_out_of_memory
from diptych_diffusion.slot_bank import SlotBank
from diptych_serving.tasks import Size


@dataclass
class Stepper:
    """Remembers for each size how many rows went through the UNet when memory had run out."""

    components: Components
    bank: SlotBank
    fits: dict[Size, int] = field(default_factory=dict)

    def step(self, drawings: Sequence[Drawing]) -> None:
        """Move every drawing by a step. Raises torch's OutOfMemoryError when not even one row has room."""
        for drawing, output_KChw in zip(drawings, self._outputs(drawings), strict=True):
            drawing.take(output_KChw)

    def _outputs(self, drawings: Sequence[Drawing]) -> list[Tensor]:
        size = drawings[0].settings.height, drawings[0].settings.width
        rows = sum(drawing.settings.rows for drawing in drawings)
        first = min(rows, self.fits.get(size, rows))
        what = "{}×{}".format(*size)
        unet = self.components.denoiser
        outputs, at_once = in_pieces(first, lambda most: predict(unet, drawings, self.bank, most), what)
        if at_once < first:
            self.fits[size] = at_once
        return outputs


def named(error: Exception, size: Size) -> Exception:
    """Return the error, by a name of ours where memory ran out."""
    if not is_out_of_memory(error):
        return error
    return DeviceOutOfMemory(
        "The device has too little memory for {}×{} pixels.".format(*size),
        hint="Try again, or ask for smaller pictures.",
    )
