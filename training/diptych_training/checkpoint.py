"""Checkpoints of a run: written beside the training, and the newest good one always found."""

from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from diptych_api.report import CheckpointRef
from diptych_training.checkpoint_files import CheckpointState
from diptych_training.checkpoint_store import clear, load, newest, newest_step, prune, save, steps
from diptych_training.run_store import RunStore

__all__ = ["CheckpointState", "CheckpointWriter", "load", "newest", "newest_step", "prune", "save", "steps"]


class CheckpointWriter:
    """Saves checkpoints on one thread beside the training, one at a time, and prunes after each.

    A save that fails raises at the next submit or flush, or at the end of the ``with`` block. A run has one writer at a
    time; what an earlier one left unfinished is removed.
    """

    def __init__(self, store: RunStore, keep: int) -> None:
        self.store = store
        self.keep = keep
        self.last: CheckpointRef | None = None
        self._pending: Future[CheckpointRef] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        clear(store)

    def submit(
        self, step: int, state: CheckpointState | Callable[[], CheckpointState], *, also: Collection[int] = ()
    ) -> None:
        """Start saving, once the save before it is done. Nobody may change the state's tensors afterwards.

        A function in place of a state is called on the writer's thread. Steps in ``also`` outlive the retention.
        """
        self.flush()
        self._pending = self._pool.submit(self._save, step, state, frozenset(also))

    def flush(self) -> None:
        """Return when everything submitted is on disk."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self.last = pending.result()

    def _save(
        self, step: int, state: CheckpointState | Callable[[], CheckpointState], also: frozenset[int]
    ) -> CheckpointRef:
        saved = save(self.store, step, state if isinstance(state, CheckpointState) else state())
        prune(self.store, self.keep, also)
        return saved

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        except Exception as failure:
            if error is None:
                raise
            error.add_note(f"The checkpoint before it was not saved: {failure}")
        finally:
            self._pool.shutdown()
