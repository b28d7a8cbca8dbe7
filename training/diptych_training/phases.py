"""The phases of a run, one function each."""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray

from diptych_api.errors import Interrupted, RunFailed
from diptych_api.finetunejob import FineTuneJob, FineTuneJobSpec
from diptych_api.runstore import MANIFEST, RUN_FILE, RunRecord
from diptych_diffusion.adapter_files import load_adapter
from diptych_diffusion.fingerprint import weights_digest
from diptych_training.attempts import Attempt
from diptych_training.bringing import bring_manifest, keep_manifest, on_sites, with_first_adapter
from diptych_training.cache import caches_text, prepare_cache
from diptych_training.cache_ray import ray_map
from diptych_training.cache_sync import through
from diptych_training.captioning.on_ray import ray_batches
from diptych_training.captioning.writing import Batches, inline
from diptych_training.checkpoint import newest_step
from diptych_training.data.buckets import counted, shapes_of
from diptych_training.data.card import describe
from diptych_training.data.listing import SUMMARY
from diptych_training.data.manifest import (
    Manifest,
    Selection,
    divide,
    left_out,
    select,
    told_dropped,
    with_captions,
    write,
)
from diptych_training.earlier_runs import begin_with_earlier
from diptych_training.gate import told
from diptych_training.letters import Ending, Finished
from diptych_training.looks_ray import RayEyes
from diptych_training.mailbox import open_mailbox, take
from diptych_training.order import order_of, total_steps
from diptych_training.packing import pack_manifest
from diptych_training.promotion import promote_decided
from diptych_training.publishing import publish as publishing
from diptych_training.ray_tasks import task_failures_named
from diptych_training.ray_train import POLL_S, fit
from diptych_training.reporter import Reporter, now
from diptych_training.run_store import RunStore
from diptych_training.share import Share
from diptych_training.site import DATA, encoded, run_folder, shared_data, shared_folder
from diptych_training.supported import NETWORKS
from diptych_training.worker import finish_run

GO_ON = "Run the same command again to go on."
ELSEWHERE = "A node is about to go. Saved at step {step}; training goes on where there is room."
PACKAGES = ("diptych", "torch", "diffusers", "peft", "transformers", "ray")


@dataclass(frozen=True)
class Run:
    """A run in the making."""

    job: FineTuneJob
    given: FineTuneJobSpec
    """The spec with its preset resolved, paths as written."""
    spec: FineTuneJobSpec
    """The same with places as this process finds them."""
    store: RunStore
    reporter: Reporter
    stop: threading.Event

    def local(self, *parts: str) -> Path:
        """Return a path in the run's folder on this machine."""
        return run_folder(self.store, *parts)

    def shared(self, name: str) -> Path:
        """Return a folder on this machine that all runs of the namespace share."""
        return shared_folder(self.store, name)

    def on_progress(self, done: int, total: int) -> None:
        """Tell the progress of a phase, and stop between two items when asked to."""
        self.reporter.on_progress(done, total)
        self.check()

    def check(self) -> None:
        """Raise Interrupted when asked to stop."""
        if self.stop.is_set():
            raise Interrupted("Stopped before training began.", hint=GO_ON)


def prepare_pictures(run: Run) -> Manifest:
    """Read, check and split the pictures, or take the manifest that an earlier attempt completed."""
    run.reporter.phase("Preparing")
    folder = run.local(MANIFEST)
    if run.store.exists(f"{MANIFEST}/{SUMMARY}"):
        manifest = bring_manifest(run.spec, run.store)
    else:
        eyes = RayEyes(run.check) if _has_many_nodes() else None
        selection = select(run.spec.dataset, run.shared(DATA), run.on_progress, eyes)
        manifest = divide(_caption(run, selection), run.spec.dataset)
        describe(manifest, run.given.dataset, run.job.metadata.name, folder)
        write(manifest, folder)
        keep_manifest(run.store)
    used = len(manifest.train) + len(manifest.held_out)
    counts: dict[str, Any] = {} if _writes(run) else {"done": used, "total": used}
    run.reporter.update(
        pictures=used,
        bad_pictures=len(manifest.rejected),
        **counts,
        total_steps=total_steps(run.spec, len(order_of(run.spec, manifest))),
    )
    if manifest.rejected:
        run.reporter.update(message=left_out(manifest.rejected, run.store.uri(MANIFEST)))
    if manifest.dropped:
        run.reporter.update(message=told_dropped(manifest.dropped, run.store.uri(MANIFEST)))
    sizes = [entry.size for entry in (*manifest.train, *manifest.held_out)]
    if shapes := shapes_of(sizes, run.spec.dataset.image):
        run.reporter.update(message=counted(shapes))
    return manifest


def _caption(run: Run, selection: Selection) -> Selection:
    """Write the captions that pictures lack, a phase of its own where there are any."""
    count = len(selection.entries)
    run.reporter.update(pictures=count, bad_pictures=len(selection.rejected), done=count, total=count)
    dataset = run.spec.dataset
    if not (dataset.writes_captions and selection.without_caption):
        return selection
    run.reporter.phase("Captioning")
    here, everywhere = run.shared(DATA), shared_data(run.store)
    return with_captions(selection, dataset, here, run.on_progress, _captions_at(run.spec), everywhere)


def _writes(run: Run) -> bool:
    """Whether captions were the last that was counted."""
    return run.reporter.report.phase == "Captioning"


def _has_many_nodes() -> bool:
    """Whether Ray has CPUs that threads of this process do not have."""
    return ray.is_initialized() and sum(node["Alive"] for node in ray.nodes()) > 1


def _captions_at(spec: FineTuneJobSpec) -> Batches:
    """Return where captions are written: those of a network on workers, where there are any."""
    by_network = spec.dataset.captioning.provider in NETWORKS and ray.is_initialized()
    return ray_batches(min(1, spec.resources.gpus_per_worker)) if by_network else inline


def pack_pictures(run: Run, manifest: Manifest) -> None:
    """Pack and upload the data set where the job asks for it; what is there already stays."""
    if run.spec.dataset.publish_to is None:
        return
    name = run.job.metadata.name
    tell = (lambda _done, _total: run.check()) if _writes(run) else run.on_progress
    packed = pack_manifest(manifest, run.store, run.given, run.spec, name, tell)
    run.reporter.update(message=f"The data set is packed: {packed.uri}, SHA-256 {packed.sha256}.")


def name_first_adapter(run: Run, digests: dict[str, str]) -> None:
    """Add the digest of the adapter that the job goes on from, if there is one, to those of the run."""
    path = with_first_adapter(run.spec, run.store).lora.init_from
    if run.spec.method == "LoRA" and path is not None:
        digests["first adapter"] = weights_digest(load_adapter(Path(path)).tensors())


def record(run: Run, digests: dict[str, str]) -> None:
    """Write run.json once; a later attempt finds it. What another run of the job has learned already is taken over."""
    if run.store.exists(RUN_FILE):
        return
    facts = RunRecord(
        name=run.job.metadata.name,
        namespace=run.store.namespace,
        run=run.store.name,
        spec=run.given,
        versions={package: version(package) for package in PACKAGES},
        base_digest=f"sha256:{digests['base']}",
        dataset_digest=f"sha256:{digests['data set']}",
        created=now(),
    )
    if (earlier := begin_with_earlier(run.store, facts)) is not None:
        run.reporter.update(message=f"{earlier} trained the same: its newest checkpoint is where this run begins.")
    run.store.write_json(RUN_FILE, facts)


def cache_pictures(run: Run, share: Share, manifest: Manifest, parts: Mapping[str, str]) -> Share:
    """Encode what the cache lacks, by Ray tasks; return the share with the names of the shards that it needs.

    ``parts`` are the digests of the base's parts.
    """
    run.reporter.phase("Caching")
    cache = prepare_cache(
        share.base_folder,
        manifest,
        run.spec.dataset,
        share.cache_folder,
        text=caches_text(run.spec),
        pictures=run.spec.training.cache_latents,
        map_fn=ray_map if run.store.is_local else through(encoded(run.store), on_sites(ray_map, run.spec, run.store)),
        on_progress=run.on_progress,
        digests=parts,
    )
    return replace(share, shards=tuple(sorted({place.path.name for place in cache.places.values()})))


def train(run: Run, share: Share) -> int | None:
    """Train to the end, with a new worker group where one fails; return the step that training went on from."""
    resumed_from = newest_step(run.store, lambda text: run.reporter.update(message=text))
    if resumed_from is not None:
        run.reporter.update(step=resumed_from, message=f"Going on from checkpoint step {resumed_from}.")
    if not _train(run, share):
        step = newest_step(run.store, lambda _: None)
        raise Interrupted(f"Stopped and saved at step {step}." if step else "Stopped before a step.", hint=GO_ON)
    return resumed_from


def _train(run: Run, share: Share) -> bool:
    """Return whether training is complete."""
    attempt = Attempt.first(share.spec)
    while True:
        run.reporter.update(phase="Training", attempt=attempt.number)
        work = replace(share, spec=attempt.spec)
        try:
            ending = fit(work, open_mailbox(), run.stop.is_set, run.reporter.on_letter)
        except RunFailed as error:
            attempt = attempt.after(error)
            run.reporter.update(message=attempt.message)
        else:
            if ending is not Ending.LEAVING or run.stop.is_set():
                return ending is Ending.COMPLETE
            run.reporter.update(message=ELSEWHERE.format(step=run.reporter.report.step))


def finish_artifact(run: Run, share: Share) -> Finished:
    """Write, check and evaluate the artifact in a Ray task."""
    run.reporter.phase("Exporting")  # and write what still waits: the task reads the rows of all steps
    resources, mailbox = run.spec.resources, open_mailbox()
    task = ray.remote(num_cpus=resources.cpus_per_worker, num_gpus=min(1, resources.gpus_per_worker))(finish_run)
    reference = task.remote(share, run.job.metadata.name, run.given.base, mailbox)
    while True:
        ready, _ = ray.wait([reference], timeout=POLL_S)
        for letter in take(mailbox, stop=run.stop.is_set()):
            run.reporter.on_letter(letter)
        if ready:
            break
    with task_failures_named("making the artifact"):
        finished: Finished = ray.get(reference)
    return finished


def promote(run: Run, finished: Finished) -> None:
    """Let the model's name stand for the artifact where its gates promoted it.

    Raises:
        RetryLater: when another run was promoted meanwhile.

    """
    if finished.gate is None:
        return
    run.reporter.phase("Gating")
    promote_decided(run.store, run.job.metadata.name, finished)
    run.reporter.update(message=told(finished.gate))


def publish(run: Run, finished: Finished) -> None:
    """Make the artifact public where the job says so and no gate withholds it.

    Raises:
        HubAuth: when a place refuses.
        RetryLater: when a place is away; the artifact is complete, and another attempt publishes it.

    """
    settings = run.spec.publish
    if settings is None:
        return
    if reason := publishing.withheld(finished.gate):
        run.reporter.update(message=reason)
        return
    run.reporter.phase("Publishing")
    names = run.reporter.report.published
    for done in publishing.publish(run.store, settings, os.environ, dry_run=settings.dry_run):
        names = list(dict.fromkeys([*names, *([done.at] if done.at and not settings.dry_run else [])]))
        run.reporter.update(message=str(done), published=names)
