"""Which version of an object."""

from typing import NamedTuple


class Version(NamedTuple):
    """Identity and age of a stored object. Of two versions of one object the larger number is newer."""

    uid: str
    number: int
