"""A run's data set as one archive: `spec.dataset.publishTo`, and `diptych data pack`."""

from collections.abc import Callable

from diptych_api.errors import UserError
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_api.runstore import MANIFEST
from diptych_training.bringing import bring_manifest
from diptych_training.data.card import CARD, describe
from diptych_training.data.entry import Manifest
from diptych_training.data.listing import SUMMARY
from diptych_training.data.pack import Packed, pack
from diptych_training.run_store import RunStore
from diptych_training.site import run_folder

Tell = Callable[[int, int], None]


def pack_run(store: RunStore, given: FineTuneJobSpec, spec: FineTuneJobSpec, name: str, tell: Tell) -> Packed:
    """Pack the data set that a run has prepared, as ``spec.dataset.publish_to`` says; ``given`` has paths as written.

    Raises:
        UserError: when nothing is prepared.
        RetryLater: when another process has the run.

    """
    if not store.exists(f"{MANIFEST}/{SUMMARY}"):
        raise UserError(f"{store.uri()} has no data set yet.", hint="Prepare it: diptych data prepare JOB.yaml")
    with store.lock():
        return pack_manifest(bring_manifest(spec, store), store, given, spec, name, tell)


def pack_manifest(
    manifest: Manifest, store: RunStore, given: FineTuneJobSpec, spec: FineTuneJobSpec, name: str, tell: Tell
) -> Packed:
    """Pack a data set whose pictures are on this machine. Raises SpecInvalid, DatasetInvalid, StoreUnwritable."""
    folder = run_folder(store, MANIFEST)
    if not (folder / CARD).is_file():
        describe(manifest, given.dataset, name, folder)
    if spec.dataset.publish_to is None:
        raise UserError("There is no place to pack to.", hint="Set spec.dataset.publishTo, or give --to.")
    return pack(manifest, folder, name, spec.dataset.publish_to, tell)
