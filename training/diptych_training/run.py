"""One run from YAML to artifact: phases in order, each skipped when its output is there."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

from diptych_api.diffusionmodel import ModelPointer
from diptych_api.errors import DiptychError, Interrupted, RetryLater, StoreUnwritable
from diptych_api.finetunejob import FineTuneJob
from diptych_api.presets import resolve
from diptych_api.report import Report
from diptych_api.runstore import LOCAL_NAMESPACE, MANIFEST, STATUS_FILE, run_name
from diptych_diffusion.base_files import part_digests, resolve_base, whole_digest
from diptych_training.clock import Clock, kept_within
from diptych_training.data.entry import Entry
from diptych_training.equipment import check_equipped, substitutes
from diptych_training.long_captions import told_before, told_long_captions
from diptych_training.phases import (
    Run,
    cache_pictures,
    finish_artifact,
    name_first_adapter,
    pack_pictures,
    prepare_pictures,
    promote,
    publish,
    record,
    train,
)
from diptych_training.places import Mounts, localized
from diptych_training.publishing.publish import secret
from diptych_training.ray_train import ray_started
from diptych_training.reporter import Reporter
from diptych_training.run_store import RunStore
from diptych_training.run_store_lease import Hold
from diptych_training.share import Share
from diptych_training.site import BASES, ENCODED
from diptych_training.supported import NETWORKS, check_supported, ignored, warned
from diptych_training.tracking.tracker import tracked


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Where a run takes place."""

    base_dir: Path
    """Folder that relative paths of the job start from."""
    address: str | None = None
    """A Ray cluster; None starts Ray on this machine."""
    mounts: Mounts | None = None
    """In a pod: where volumes are, by claim. Its operator honours what one machine cannot."""
    run_name: str | None = None
    """Folder of the run; None makes it of the job's name and spec."""
    standing: Callable[[str], ModelPointer | None] | None = None
    """On a cluster, what a DiffusionModel stands for now; raises RetryLater where nobody tells."""
    prepare_only: bool = False
    """End when the data set is prepared; a run goes on from there."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, and where its folder is."""

    report: Report
    folder: str
    resumed_from: int | None = None


def run(
    job: FineTuneJob, options: RunOptions, on_report: Callable[[Report], None], stop: threading.Event | None = None
) -> Outcome:
    """Run a job to its end, from wherever an earlier attempt left it.

    ``on_report`` hears of every change. When ``stop`` is set, the state is saved and Interrupted is raised.

    Raises:
        DiptychError: with the reason; the report in the run store tells the same.

    """
    given = resolve(job.spec)
    check_supported(given)
    if options.address is None:
        check_equipped(given)
    spec = localized(given, options.base_dir, options.mounts)
    if spec.publish is not None:
        secret(spec.publish.token, os.environ)  # now, not after hours of training
    namespace = job.metadata.namespace or LOCAL_NAMESPACE
    name = options.run_name or run_name(job.metadata.name, job.spec)
    store = RunStore.open(spec.output, namespace, name, options.base_dir)
    with store.lock() as hold, tracked(spec.tracking, store, on_report) as tracker:
        earlier = store.read_json(STATUS_FILE, Report)
        reporter = Reporter(on_report, store, clock=Clock.after(earlier, spec), tracker=tracker)
        this = Run(job, given, spec, store, reporter, stop or threading.Event())
        if earlier is not None and earlier.phase == "Succeeded":
            on_report(earlier)
            if tracker is not None:
                tracker.tell(earlier)
            return Outcome(earlier, store.uri())
        hold.on_lost = partial(_leave, this)
        with _failures_told(this, hold), _limits(this, options):
            if hold.notice:
                reporter.update(message=hold.notice)
            resumed_from = _run(this, options)
        return Outcome(reporter.report, store.uri(), resumed_from)


@contextmanager
def _failures_told(run: Run, hold: Hold) -> Iterator[None]:
    """Write the reason of a failure into the run store on its way out."""
    reporter = run.reporter
    try:
        yield
    except Interrupted as error:
        if hold.lost:
            raise RetryLater(f"{hold.lost} took over {run.store.uri()}.", hint="Stop one of the two.") from error
        reporter.update(phase="Suspended", message=error.message)
        raise
    except BaseException as error:
        try:
            reporter.failed(error)
        except StoreUnwritable as unwritten:
            error.add_note(f"The run store could not be told: {unwritten}")
        raise


def _leave(run: Run) -> None:
    """Stop, and write no more reports: another process has the run now."""
    run.reporter.store = None
    if run.reporter.tracker is not None:
        run.reporter.tracker.leave()
    run.stop.set()


def _limits(run: Run, options: RunOptions) -> AbstractContextManager[None]:
    """Return what keeps a run within its limits; in a pod the operator does."""
    if options.mounts is not None:
        return nullcontext()
    return kept_within(run.spec, run.reporter.clock, run.stop)


def _run(run: Run, options: RunOptions) -> int | None:
    with _early_ray(run, options):
        return _phases(run, options)


def _standing(run: Run, options: RunOptions) -> ModelPointer | None:
    """Return what the job's model stands for; None where it has none, or where that cannot be told."""
    if run.spec.promotion is None or options.standing is None:
        return None
    try:
        return options.standing(run.spec.promotion.model)
    except RetryLater as error:
        run.reporter.update(message=f"Held against the base alone: {error}"[:1024])
        return None


def _early_ray(run: Run, options: RunOptions) -> AbstractContextManager[None]:
    """Return a Ray that is there from the first phase on: a cluster, or where a network writes captions on GPUs."""
    by_network = run.spec.dataset.captioning.provider in NETWORKS
    if options.address or (by_network and run.spec.resources.gpus_per_worker):
        return ray_started(options.address, run.spec.resources)
    return nullcontext()


def _told_before(run: Run, entries: Sequence[Entry]) -> str | None:
    """Return what will be cut of captions; what keeps that from being told is no reason to prepare nothing."""
    try:
        return told_before(run.spec.base, entries, run.spec.dataset.caption_policy)
    except DiptychError as error:
        return f"Whether captions are too long cannot be told: {error}"[:1024]


def _phases(run: Run, options: RunOptions) -> int | None:
    in_vain = ignored(run.given, in_pod=options.mounts is not None, on_cluster=options.address is not None)
    for sentence in chain(in_vain, warned(run.given), substitutes(run.given)):
        run.reporter.update(message=sentence)
    manifest = prepare_pictures(run)
    entries = (*manifest.train, *manifest.held_out)
    if options.prepare_only:
        if told := _told_before(run, entries):
            run.reporter.update(message=told)
        run.reporter.update(phase="Suspended", message="The data set is prepared.")
        return None
    pack_pictures(run, manifest)
    base = resolve_base(run.spec.base, run.shared(BASES))
    parts = part_digests(base, need_unet=run.spec.method != "FromScratch")
    digests = {"data set": manifest.digest, "base": whole_digest(parts)}
    if told := told_long_captions(base, entries, run.spec.dataset.caption_policy):
        run.reporter.update(message=told)
    name_first_adapter(run, digests)
    record(run, digests)
    share = Share(run.spec, base, run.local(MANIFEST), run.shared(ENCODED), run.store, digests)
    share = replace(share, promotes=options.mounts is None)
    where = f"at {options.address}" if options.address else "on this machine"
    run.reporter.update(message=f"Starting Ray {where}.")
    with ray_started(options.address, run.spec.resources):
        run.reporter.clock.hold_gpus()
        share = cache_pictures(run, share, manifest, parts)
        resumed_from = train(run, share)
        share = replace(share, standing=_standing(run, options))
        finished = finish_artifact(run, share)
    run.reporter.update(artifact=finished.artifact, metrics=list(finished.metrics), gate=finished.gate)
    promote(run, finished)
    publish(run, finished)
    run.reporter.update(phase="Succeeded", message="")
    return resumed_from
