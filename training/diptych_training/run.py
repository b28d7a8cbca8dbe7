"""One run from YAML to artifact: phases in order, each skipped when its output is there."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import ray
from diptych_api.errors import DiptychError, Interrupted, WorkerLost
from diptych_api.finetunejob import FineTuneJob, FineTuneJobSpec
from diptych_api.presets import resolve
from diptych_api.report import Report
from diptych_api.runstore import CACHE, LOCAL_NAMESPACE, MANIFEST, RUN_FILE, STATUS_FILE, RunRecord, run_name
from diptych_diffusion.pipeline import load, resolve_base

from diptych_training.cache import prepare_cache
from diptych_training.cache_ray import ray_map
from diptych_training.data.manifest import Manifest, prepare, read, write
from diptych_training.finish import finish
from diptych_training.mailbox import open_mailbox
from diptych_training.ray_train import fit, ray_started
from diptych_training.reporter import Reporter, now
from diptych_training.run_store import RunStore
from diptych_training.saving import find
from diptych_training.share import Share, order_of, total_steps
from diptych_training.supported import check_supported, ignored


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Where a run takes place."""

    base_dir: Path
    """Folder that relative paths of the job start from."""
    address: str | None = None
    """A Ray cluster; None starts Ray on this machine."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, and where its folder is."""

    report: Report
    folder: str
    resumed_from: int | None = None


@dataclass
class Run:
    """A run in the making."""

    job: FineTuneJob
    spec: FineTuneJobSpec
    options: RunOptions
    store: RunStore
    reporter: Reporter
    stop: threading.Event

    def check_stop(self) -> None:
        """Raise Interrupted when somebody asked to stop."""
        if self.stop.is_set():
            raise Interrupted("Stopped.", hint="Run the same command again to go on.")

    def on_progress(self, done: int, total: int) -> None:
        """Tell the progress of a phase, and stop between two items."""
        self.reporter.on_progress(done, total)
        self.check_stop()


def run(
    job: FineTuneJob, options: RunOptions, on_report: Callable[[Report], None], stop: threading.Event | None = None
) -> Outcome:
    """Run a job to its end, from wherever an earlier attempt left it.

    ``on_report`` hears of every change. When ``stop`` is set, the state is saved and Interrupted is raised.

    Raises:
        DiptychError: with the reason; the report in the run store tells the same.

    """
    spec = resolve(job.spec)
    check_supported(spec)
    name = run_name(job.metadata.name, job.spec)
    store = RunStore.open(spec.output, job.metadata.namespace or LOCAL_NAMESPACE, name, options.base_dir)
    with store.lock():
        earlier = store.read_json(STATUS_FILE, Report)
        if earlier is not None and earlier.phase == "Succeeded":
            on_report(earlier)
            return Outcome(earlier, store.uri())
        reporter = Reporter(on_report, store)
        with _failures_told(reporter):
            return _run(Run(job, spec, options, store, reporter, stop or threading.Event()))


@contextmanager
def _failures_told(reporter: Reporter) -> Iterator[None]:
    """Write the reason of a failure into the run store on its way out."""
    try:
        yield
    except Interrupted as error:
        reporter.update(phase="Suspended", message=error.message)
        raise
    except BaseException as error:
        reporter.failed(error)
        raise


def _run(run: Run) -> Outcome:
    for sentence in ignored(run.spec):
        run.reporter.update(message=sentence)
    manifest = _prepare(run)
    run.check_stop()
    base = resolve_base(run.spec.base, _cache_root(run) / "bases")
    components = load(base, need_unet=run.spec.method != "FromScratch")
    digests = {"data set": manifest.digest, "base": components.digest, "spec": run.store.name}
    _record(run, digests)
    with ray_started(run.options.address, run.spec.resources):
        run.reporter.phase("Caching")
        cache_dir = _cache_root(run)
        prepare_cache(
            base,
            manifest,
            run.spec.dataset,
            cache_dir,
            text=not run.spec.training.train_text_encoder,
            map_fn=ray_map,
            on_progress=run.on_progress,
        )
        share = Share(run.spec, base, _local(run, MANIFEST), cache_dir, run.store, digests)
        resumed_from = _train(run, share, manifest)
        finished = _finish(run, share)
    run.reporter.update(phase="Succeeded", artifact=finished.artifact, metrics=list(finished.metrics), message="")
    return Outcome(run.reporter.report, run.store.uri(), resumed_from)


def _local(run: Run, *parts: str) -> Path:
    path = run.store.local(*parts)
    if path is None:
        raise DiptychError(f"The run store {run.store.uri()} is not on this machine.")
    return path


def _cache_root(run: Run) -> Path:
    return _local(run).parent / CACHE


def _prepare(run: Run) -> Manifest:
    """Read, check and split the pictures, or take the manifest that an earlier attempt completed."""
    run.reporter.phase("Preparing")
    folder = _local(run, MANIFEST)
    if (folder / "manifest.json").exists():
        manifest = read(folder)
    else:
        manifest = prepare(_absolute(run.spec, run.options.base_dir).dataset, _cache_root(run) / "data", run.on_progress)
        write(manifest, folder)
    run.reporter.update(
        pictures=len(manifest.train) + len(manifest.held_out),
        bad_pictures=len(manifest.rejected),
        done=len(manifest.train),
        total=len(manifest.train),
        total_steps=total_steps(run.spec, len(order_of(run.spec, manifest))),
    )
    return manifest


def _absolute(spec: FineTuneJobSpec, base_dir: Path) -> FineTuneJobSpec:
    """Return the spec with relative local paths of data set and base resolved against ``base_dir``."""

    def resolved(uri: str | None) -> str | None:
        return uri if uri is None or "://" in uri else str((base_dir / uri).resolve())

    source = spec.dataset.source.model_copy(update={"uri": resolved(spec.dataset.source.uri)})
    dataset = spec.dataset.model_copy(update={"source": source})
    base = spec.base.model_copy(update={"uri": resolved(spec.base.uri)})
    return spec.model_copy(update={"dataset": dataset, "base": base})


def _record(run: Run, digests: dict[str, str]) -> None:
    """Write run.json once; a later attempt finds it."""
    if run.store.exists(RUN_FILE):
        return
    packages = ("diptych", "torch", "diffusers", "peft", "transformers", "ray")
    record = RunRecord(
        name=run.job.metadata.name,
        namespace=run.job.metadata.namespace or LOCAL_NAMESPACE,
        run=run.store.name,
        spec=run.spec,
        versions={package: version(package) for package in packages},
        base_digest=f"sha256:{digests['base']}",
        dataset_digest=f"sha256:{digests['data set']}",
        created=now(),
    )
    run.store.write_json(RUN_FILE, record)


def _train(run: Run, share: Share, manifest: Manifest) -> int | None:
    """Train to the end, with a new worker group for each that is lost; return the step that training went on from."""
    resumed_from = None
    for attempt in range(1, run.spec.retry.backoff_limit + 2):
        found = find(run.store, lambda text: run.reporter.update(message=text))
        if found is not None:
            resumed_from = found[0] if resumed_from is None else resumed_from
            run.reporter.update(message=f"Going on from checkpoint step {found[0]}.")
        run.reporter.update(phase="Training", attempt=attempt)
        try:
            complete = fit(share, open_mailbox(), run.stop.is_set, run.reporter.on_letter)
        except WorkerLost as error:
            if attempt > run.spec.retry.backoff_limit:
                raise
            run.reporter.update(message=f"{error.message} Trying again ({attempt} of {run.spec.retry.backoff_limit}).")
            continue
        if not complete:
            step = run.reporter.report.step
            raise Interrupted(f"Stopped and saved at step {step}.", hint="Run the same command again to go on.")
        return resumed_from
    raise AssertionError("unreachable: the last attempt returns or raises")


def _finish(run: Run, share: Share):
    """Write, check and evaluate the artifact in a Ray task."""
    mailbox = open_mailbox()
    task = ray.remote(num_cpus=run.spec.resources.cpus_per_worker, num_gpus=min(1, run.spec.resources.gpus_per_worker))(finish)
    reference = task.remote(share, mailbox)
    while True:
        ready, _ = ray.wait([reference], timeout=0.3)
        for letter in ray.get(mailbox.take.remote(stop=run.stop.is_set())):
            run.reporter.on_letter(letter)
        if ready:
            return ray.get(reference)
