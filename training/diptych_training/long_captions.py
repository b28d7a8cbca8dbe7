"""Captions that are longer than the text encoder reads."""

from collections.abc import Iterable

from diptych_diffusion.components import Components
from diptych_diffusion.prompts import is_truncated
from diptych_training.data.manifest import Entry


def told_long_captions(components: Components, entries: Iterable[Entry], policy: str) -> str | None:
    """Return a sentence on captions whose end has no effect; None where there are none."""
    used = slice(1) if policy == "First" else slice(None)
    captions = sorted({caption for entry in entries for caption in entry.captions[used]})
    long = [caption for caption in captions if is_truncated(components, caption)]
    if not long:
        return None
    return (
        f"{len(long):,} of {len(captions):,} captions have more than {components.max_tokens} tokens; what is over has "
        f"no effect. The first: {long[0][:80]!r}."
    )
