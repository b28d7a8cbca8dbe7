"""One attempt of a job: the driver of a RayJob in its head pod, or the same from a shell."""

import contextlib
import io
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from diptych_api.diffusionmodel import DiffusionModel, ModelPointer
from diptych_api.errors import DiptychError, Interrupted, RetryLater, SpecInvalid
from diptych_api.fields import API_VERSION
from diptych_api.finetunejob import FineTuneJob
from diptych_api.names import REPORT_MANAGER
from diptych_api.report import Report
from diptych_api.wire import from_json
from diptych_api.yaml_reader import read_resource
from diptych_diffusion.loading import loading
from diptych_training.api_server import ApiServer
from diptych_training.pod_report import check_identity, manifest, report_path
from diptych_training.pod_settings import PodSettings
from diptych_training.report_post import ReportPost
from diptych_training.reporter import Reporter, now
from diptych_training.station import Station
from diptych_training.stop_signal import StopSignal

PRINT_EVERY_S = 5.0
ENDED = frozenset({"Succeeded", "Failed", "Suspended"})
OnReport = Callable[[Report], None]


@dataclass(frozen=True, slots=True)
class PodRequest:
    """What the program was asked for."""

    job: Path
    address: str | None = None
    """A Ray cluster; None takes the one that Ray's job server names, or starts Ray on this machine."""
    server: ApiServer | None = None
    """Where reports go; None finds it as pods do."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attempt takes place."""

    address: str | None
    server: ApiServer | None
    """None where nobody is reported to."""


def run_job(request: PodRequest, environ: Mapping[str, str]) -> int:
    """Run a job to its end and return the exit code. The reason of a failure is in the last report, and on stderr."""
    wish = StopSignal()
    wish.install()
    try:
        settings = PodSettings.of(environ)
        job = read_job(request.job)
        with contextlib.ExitStack() as stack:
            if (station := Station.of(environ)) is not None:
                stack.enter_context(station.manned("driver"))  # first in, last out: the last report is sent before
            heard, server = [_printed(settings, stack)], None
            if settings.reports:
                server = request.server or ApiServer.of(environ)
                heard.append(_posted(job, settings, server, stack))
            place = Place(request.address or settings.ray_address, server)
            _attempt(job, settings, place, wish, heard)
    except DiptychError as error:
        _complain(f"{error.reason}: {error}")
        return error.exit_code
    except Exception:  # noqa: BLE001 - a bug, of which the report tells too
        traceback.print_exc()
        return 1
    return 0


def read_job(path: Path) -> FineTuneJob:
    """Return the job of a file. Raises SpecInvalid for anything else."""
    resource = read_resource(path)
    if not isinstance(resource, FineTuneJob):
        raise SpecInvalid(f"{path} is a {resource.kind}.", hint="Give a FineTuneJob.")
    return resource


def _attempt(job: FineTuneJob, settings: PodSettings, place: Place, wish: StopSignal, heard: list[OnReport]) -> None:
    """Train, and see to it that the last report says how it ended, also when it ended before it began."""
    last = Report(phase="Pending", message="Loading PyTorch and Ray.", time=now())

    def on_report(report: Report) -> None:
        nonlocal last
        wish.install()
        last = report
        for tell in heard:
            tell(report)

    on_report(last)
    try:
        with loading():
            from diptych_training.run import RunOptions, run  # noqa: PLC0415 - takes seconds: a report tells so

        told = None if place.server is None else partial(standing, place.server, job)
        options = RunOptions(Path.cwd(), place.address, settings.mounts, settings.run_name, told)
        run(job, options, on_report, wish.event)
    except Interrupted as error:
        if last.phase not in ENDED:
            Reporter(on_report, report=last).update(phase="Suspended", message=error.message)
        raise
    except BaseException as error:
        if last.phase not in ENDED:
            Reporter(on_report, report=last).failed(error)
        raise


def standing(server: ApiServer, job: FineTuneJob, model: str) -> ModelPointer | None:
    """Return what a DiffusionModel of the job's namespace stands for now. Raises RetryLater where nobody tells."""
    namespace = job.metadata.namespace or server.namespace()
    found = server.get(f"/apis/{API_VERSION}/namespaces/{namespace}/diffusionmodels/{model}")
    try:
        status = None if found is None else from_json(DiffusionModel, found).status
    except ValidationError as error:
        raise RetryLater(f"The DiffusionModel {model} cannot be read: it is of another version.") from error
    return None if status is None else ModelPointer(current=status.current, previous=status.previous)


def _printed(settings: PodSettings, stack: contextlib.ExitStack) -> OnReport:
    """Return what writes reports to stdout and to the further log, where there is one."""
    streams = {"stdout": io.FileIO(sys.stdout.fileno(), "w", closefd=False)}
    if settings.log is not None:
        try:
            streams[str(settings.log)] = stack.enter_context(io.FileIO(settings.log, "a"))
        except OSError as error:
            _complain(f"{settings.log} cannot be written: {error.strerror or error}. Reports go to stdout alone.")
    return Printed(streams)


def _posted(job: FineTuneJob, settings: PodSettings, server: ApiServer, stack: contextlib.ExitStack) -> OnReport:
    """Return what sends reports to the API server."""
    check_identity(job)
    namespace = job.metadata.namespace or server.namespace()
    path, applied = report_path(job, namespace), partial(manifest, job, namespace, attempt=settings.attempt)

    def send(report: Report) -> None:
        server.apply(path, applied(report), REPORT_MANAGER)

    return stack.enter_context(ReportPost(send, _complain)).tell


def _complain(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - a program's own words


@dataclass
class Printed:
    """Writes reports as lines of JSON: what is new at once, progress every few seconds."""

    streams: dict[str, io.FileIO]
    """By name, without buffers: what a reader that is gone leaves behind must not end the program later."""
    last: tuple[object, ...] = ()
    at: float = -PRINT_EVERY_S

    def __call__(self, report: Report) -> None:
        """Write a report, if it is due."""
        told = (report.phase, report.message, report.failure)
        if told == self.last and time.monotonic() - self.at < PRINT_EVERY_S:
            return
        self.last, self.at = told, time.monotonic()
        line = report.model_dump_json(by_alias=True, exclude_none=True, exclude_defaults=True)
        for name, stream in list(self.streams.items()):
            try:
                stream.write(f"{line}\n".encode())
            except OSError as error:
                del self.streams[name]
                _complain(f"{name} cannot be written any more: {error.strerror or error}.")
