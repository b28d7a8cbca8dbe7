"""What a place lacks of a parcel."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from diptych_training.publishing.parcel import Item, Parcel


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be sent and what would go; a value, so that it can be told before it is done."""

    place: str
    send: tuple[Item, ...]
    remove: tuple[str, ...]
    is_new: bool = False
    """Whether the place has to be made."""

    @property
    def is_done(self) -> bool:
        """Whether the place has everything already."""
        return not (self.send or self.remove or self.is_new)

    @property
    def size(self) -> int:
        """Bytes that are sent."""
        return sum(item.size for item in self.send)


def compared(place: str, parcel: Parcel, there: Collection[str], is_same: Callable[[Item], bool]) -> Plan:
    """Return what is missing or other at a place, and what of it is in no parcel of this run."""
    send = tuple(item for item in parcel.items if item.name not in there or not is_same(item))
    wanted = {item.name for item in parcel.items}
    return Plan(place, send, tuple(sorted(name for name in there if name not in wanted)))
