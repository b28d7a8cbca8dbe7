"""Publishing to a folder: on a disk, in s3:// or in gs://."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import fsspec

from diptych_training.publishing.parcel import Item, Parcel
from diptych_training.publishing.plan import Plan, compared
from diptych_training.run_store import RunStore

SUMS: Final = "SHA256SUMS"
"""Written last, in the form of sha256sum: the folder is whole where it is there."""


@dataclass(frozen=True, slots=True)
class PublishedFolder:
    """A folder of one artifact. Whoever reads it checks it by `sha256sum -c SHA256SUMS`; files of others stay."""

    place: str
    fs: fsspec.AbstractFileSystem
    root: str

    def plan(self, parcel: Parcel) -> Plan:
        """Return what is missing there."""
        store = RunStore(self.fs, self.root)
        sizes = store.sizes("") if store.exists("") else {}
        known = _sums(store.read_bytes(SUMS) or b"")
        ours = known.keys() | {item.name for item in parcel.items}

        def is_same(item: Item) -> bool:
            return known.get(item.name) == item.sha256 and sizes[item.name] == item.size

        plan = compared(self.place, parcel, sizes.keys() & ours, is_same)
        return Plan(plan.place, plan.send, plan.remove, is_new=SUMS not in sizes)

    def send(self, plan: Plan, parcel: Parcel) -> str:
        """Write what is missing, remove what an earlier artifact left, then say that it is whole."""
        store = RunStore(self.fs, self.root)
        store.remove(SUMS)
        for item in plan.send:
            if isinstance(item.content, Path):
                store.put_file(item.content, item.name)
            else:
                store.write_bytes(item.name, item.content)
        for name in plan.remove:
            store.remove(name)
        store.write_bytes(SUMS, "".join(f"{item.sha256}  {item.name}\n" for item in parcel.items).encode())
        return self.place


def _sums(data: bytes) -> dict[str, str]:
    """Return the hashes of an earlier artifact's files by name; lines that are none are left out."""
    lines = (line.split("  ", 1) for line in data.decode(errors="replace").splitlines())
    return {parts[1]: parts[0] for parts in lines if len(parts) == 2}  # noqa: PLR2004 - hash and name
