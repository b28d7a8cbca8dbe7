from pathlib import Path

from diptych_training.data.entry import Entry
from diptych_training.long_captions import told_long_captions
from support.tiny_models import make_pipeline


def test_trap_14_captions_that_are_cut_off_are_told(tmp_path: Path) -> None:
    """Whatever stands past the last token is silently not learned."""
    base = make_pipeline(tmp_path)
    entries = [Entry("a.png", tmp_path, ("fourteen bytes", "a caption too long"), "0" * 64)] * 2
    assert told_long_captions(base, entries, "First") is None
    assert told_long_captions(base, entries, "All") == (
        "1 of 2 captions have more than 16 tokens; what is over has no effect. The first: 'a caption too long'."
    )
