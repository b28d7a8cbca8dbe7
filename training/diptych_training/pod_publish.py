"""Publishing the finished run of a job from a pod of its own, once its model was told to stand for it.

The pod has no account: what it has to say is its last word, which Kubernetes keeps in the pod's status.
"""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from diptych_api.after import Tracking
from diptych_api.errors import DiptychError, RetryLater, StoreUnwritable, UserError
from diptych_api.finetunejob import FineTuneJob
from diptych_api.presets import resolve
from diptych_api.publication import LONGEST, LastWord
from diptych_api.report import Report
from diptych_api.runstore import LOCAL_NAMESPACE, STATUS_FILE, run_name
from diptych_training.pod import read_job
from diptych_training.pod_settings import PodSettings
from diptych_training.reporter import failure_of

if TYPE_CHECKING:
    from diptych_training.run_store import RunStore

LAST_WORD: Final = Path("/dev/termination-log")


def publish_run(job_file: Path, environ: Mapping[str, str], last_word: Path = LAST_WORD) -> int:
    """Publish and return the exit code; what came of it is the last word, and on stdout."""
    try:
        word, code = _published(read_job(job_file), PodSettings.of(environ), environ), 0
    except StoreUnwritable as error:  # which an outage of a store is, too
        word, code = LastWord(failure=failure_of(error)), RetryLater.exit_code
    except DiptychError as error:
        word, code = LastWord(failure=failure_of(error)), error.exit_code
    except Exception as error:  # noqa: BLE001 - a bug, of which the last word tells too
        traceback.print_exc()
        word, code = LastWord(failure=failure_of(error)), 1
    print(said := fitted(word))  # noqa: T201 - our own words
    if last_word.exists():  # as the kubelet makes it; from a shell there is none
        last_word.write_text(said)
    return code


def fitted(word: LastWord) -> str:
    """Return a word as JSON of at most 4096 bytes, which is what Kubernetes keeps."""
    text = word.model_dump_json(by_alias=True, exclude_defaults=True)
    if len(text.encode()) <= LONGEST:
        return text
    if word.failure is not None:
        cut = word.failure.model_copy(update={"message": word.failure.message[:400], "hint": word.failure.hint[:200]})
        return LastWord(failure=cut).model_dump_json(by_alias=True, exclude_defaults=True)
    return LastWord(published=word.published[:1]).model_dump_json(by_alias=True, exclude_defaults=True)


def _published(job: FineTuneJob, settings: PodSettings, environ: Mapping[str, str]) -> LastWord:
    from diptych_training.places import with_published_places  # noqa: PLC0415 - seconds, and a wrong file is told at once
    from diptych_training.publishing.publish import publish  # noqa: PLC0415 - the same
    from diptych_training.run_store import RunStore  # noqa: PLC0415 - the same

    spec = with_published_places(resolve(job.spec), Path.cwd(), settings.mounts)
    if spec.publish is None:
        raise UserError(f"The job {job.metadata.name} names no spec.publish.", hint="Say where to publish.")
    namespace = job.metadata.namespace or LOCAL_NAMESPACE
    name = settings.run_name or run_name(job.metadata.name, job.spec)
    store = RunStore.open(spec.output, namespace, name, Path.cwd())
    dry = spec.publish.dry_run
    with store.lock():
        done = list(publish(store, spec.publish, environ, dry_run=dry))
        told = [] if dry else [*_champion(store, spec.tracking, environ)]
    places = [] if dry else [each.at for each in done]
    return LastWord(published=[place for place in places if place], message=" ".join([*map(str, done), *told])[:1024])


def _champion(store: "RunStore", tracking: Tracking | None, environ: Mapping[str, str]) -> Iterator[str]:
    """Have MLflow call the run's version champion; what keeps it from that keeps nothing from being published."""
    from diptych_training.tracking.delivery import Delivery  # noqa: PLC0415 - only where it is tracked
    from diptych_training.tracking.place import place_of  # noqa: PLC0415 - the same

    if tracking is None:
        return
    try:
        report = store.read_json(STATUS_FILE, Report)
        if report is None:
            return
        with closing(place_of(tracking, environ)) as place:
            delivery = Delivery(store, tracking, place, stands=True)
            delivery.bring(report)
    except Exception as error:  # noqa: BLE001 - whatever it is, the artifact is public
        yield f"MLflow was not told of the promotion: {str(error) or type(error).__name__}"
    else:
        if delivery.sent is not None and delivery.sent.version is not None:
            yield f"{tracking.uri} calls it champion."
