"""`diptych eval`: the evaluation of a finished run by itself, in this process."""

from collections.abc import Callable
from pathlib import Path

from diptych_api.errors import RetryLater, RunFailed, UserError
from diptych_api.evaluation_report import EvaluationReport
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_api.runstore import EVALUATION, EVALUATION_FILE, MANIFEST, RUN_FILE, RunRecord
from diptych_diffusion.base_files import part_digests, resolve_base
from diptych_training.bringing import bring_manifest
from diptych_training.cache import caches_text, inline, prepare_cache
from diptych_training.cache_sync import through
from diptych_training.finish import reassess
from diptych_training.letters import PhaseProgress
from diptych_training.places import localized
from diptych_training.promotion import promote_decided
from diptych_training.run_store import RunStore
from diptych_training.share import Share
from diptych_training.site import BASES, ENCODED, encoded, run_folder, shared_folder
from diptych_training.supported import check_supported


def evaluate_run(
    store: RunStore, spec: FineTuneJobSpec, base_dir: Path, tell: Callable[[PhaseProgress], bool]
) -> EvaluationReport:
    """Evaluate a finished run as ``spec`` says, promote it where its gates ask for that, and return the report.

    Where nothing changed since the report was written, it is returned as it stands.

    Raises:
        UserError: when the run is not finished, or the spec is of another run.
        RetryLater: when another process has the run, or a store is away.
        StoreUnwritable: when the report cannot be kept.

    """
    record = store.read_json(RUN_FILE, RunRecord)
    if record is None:
        raise UserError(f"{store.uri()} was not begun.", hint="Start it with diptych run.")
    if _but_after(spec) != _but_after(record.spec):
        raise UserError(
            "Only spec.evaluation and spec.promotion may change: the rest is what the run was made of.",
            hint="Another run: diptych run.",
        )
    check_supported(spec)
    with store.lock() as hold:
        share = _share(store, record, localized(spec, base_dir))
        finished = reassess(share, record.name, lambda letter: tell(letter) or bool(hold.lost))
        if hold.lost:
            raise RetryLater(f"{hold.lost} took over {store.uri()}.", hint="Stop one of the two.")
        promote_decided(store, record.name, finished)
    report = store.read_json(f"{EVALUATION}/{EVALUATION_FILE}", EvaluationReport)
    if report is None:
        raise RunFailed(f"{store.uri(EVALUATION)} has no report.", hint="Set spec.evaluation.enabled to true.")
    return report


def _share(store: RunStore, record: RunRecord, spec: FineTuneJobSpec) -> Share:
    base = resolve_base(spec.base, shared_folder(store, BASES))
    if not store.is_local:
        _bring_encoded(store, spec, base)
    digests = {"data set": record.dataset_digest, "base": record.base_digest}
    identity = {name: str(digest).removeprefix("sha256:") for name, digest in digests.items()}
    return Share(spec, base, run_folder(store, MANIFEST), shared_folder(store, ENCODED), store, identity)


def _bring_encoded(store: RunStore, spec: FineTuneJobSpec, base: Path) -> None:
    """Bring the run's pictures and captions as they were encoded to this machine; what the store lost is made anew."""
    manifest, parts = bring_manifest(spec, store), part_digests(base, need_unet=False)
    prepare_cache(
        base,
        manifest,
        spec.dataset,
        shared_folder(store, ENCODED),
        text=caches_text(spec),
        pictures=spec.training.cache_latents,
        map_fn=through(encoded(store), inline),
        digests=parts,
    )


def _but_after(spec: FineTuneJobSpec) -> dict[str, object]:
    return spec.model_dump(mode="json", exclude={"evaluation", "promotion", *FineTuneJobSpec.mutable})
