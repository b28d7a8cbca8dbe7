"""Where pictures drawn on the way lie in a run store. Free of torch: the driver looks, workers draw."""

from typing import Final

from diptych_api.report import SampleRef
from diptych_api.runstore import SAMPLES, checkpoint_name, checkpoint_step
from diptych_training.run_store_read import StoreReader

SUFFIX: Final = ".png"
MOST: Final = 8
"""As many as a report tells."""


def sample_path(step: int) -> str:
    """Return the path of the pictures of a step."""
    return f"{SAMPLES}/{checkpoint_name(step)}{SUFFIX}"


def sample_steps(store: StoreReader) -> list[int]:
    """Return the steps that have pictures, in rising order."""
    names = [name for name in store.list(SAMPLES) if name.endswith(SUFFIX)]
    found = (checkpoint_step(name.removesuffix(SUFFIX)) for name in names)
    return sorted(step for step in found if step is not None)


def newest_samples(store: StoreReader) -> list[SampleRef]:
    """Return the newest pictures as a report tells them, oldest first."""
    return [SampleRef(step=step, uri=store.uri(sample_path(step))) for step in sample_steps(store)[-MOST:]]
