"""A job of the examples run to its end in this process: the phases of `diptych run`, but for Ray."""

import threading
from dataclasses import dataclass
from pathlib import Path

from diptych_api.finetunejob import FineTuneJob
from diptych_api.presets import resolve
from diptych_api.report import Report
from diptych_api.runstore import LOCAL_NAMESPACE, MANIFEST, run_name
from diptych_diffusion.base_files import part_digests, resolve_base, whole_digest
from diptych_training.cache import caches_text, prepare_cache
from diptych_training.data.manifest import Manifest
from diptych_training.finish import conclude
from diptych_training.letters import Finished, Progress
from diptych_training.phases import Run, pack_pictures, prepare_pictures, promote, publish, record
from diptych_training.places import localized
from diptych_training.reporter import Reporter
from diptych_training.run_store import RunStore
from diptych_training.share import Share
from diptych_training.site import BASES, ENCODED
from diptych_training.supported import check_supported
from diptych_training.tracking.tracker import tracked
from support.bare_runs import train


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended."""

    run: Run
    base: Path
    manifest: Manifest
    finished: Finished
    said: list[str]
    """Its messages, each once."""

    @property
    def folder(self) -> Path:
        """Return the run's folder."""
        return self.run.local()


def run_without_ray(job: FineTuneJob, root: Path) -> Ended:
    """Run a job from its pictures to what it publishes; relative paths start at ``root``."""
    given = resolve(job.spec)
    check_supported(given)
    spec, reports = localized(given, root), list[Report]()
    store = RunStore.open(spec.output, LOCAL_NAMESPACE, run_name(job.metadata.name, job.spec), root)
    with tracked(spec.tracking, store, reports.append) as tracker:
        run = Run(job, given, spec, store, Reporter(reports.append, store, tracker=tracker), threading.Event())
        manifest = prepare_pictures(run)
        pack_pictures(run, manifest)
        share = _share(run, manifest)
        record(run, dict(share.identity))
        train(share, lambda progress: _told(run, progress))
        finished = conclude(share, job.metadata.name, given.base, lambda _: False)
        run.reporter.update(artifact=finished.artifact, metrics=list(finished.metrics), gate=finished.gate)
        promote(run, finished)
        publish(run, finished)
        run.reporter.update(phase="Succeeded", message="")
    said = list(dict.fromkeys(report.message for report in reports if report.message))
    return Ended(run, share.base_folder, manifest, finished, said)


def _share(run: Run, manifest: Manifest) -> Share:
    """Return what the one worker needs, pictures and captions encoded."""
    spec = run.spec
    base, cache = resolve_base(spec.base, run.shared(BASES)), run.shared(ENCODED)
    parts = part_digests(base, need_unet=spec.method != "FromScratch")
    prepare_cache(
        base, manifest, spec.dataset, cache, text=caches_text(spec), pictures=spec.training.cache_latents, digests=parts
    )
    digests = {"data set": manifest.digest, "base": whole_digest(parts)}
    return Share(spec, base, run.local(MANIFEST), cache, run.store, digests)


def _told(run: Run, progress: Progress) -> bool:
    run.reporter.on_letter(progress)
    return False
