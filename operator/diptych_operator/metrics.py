"""What Prometheus reads of the operator."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from diptych_operator.kinds import FINE_TUNE_JOB, Ref

FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The operator's figures, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        here: dict[str, Any] = {"registry": self.registry}
        quick: dict[str, Any] = {"buckets": FAST, **here}
        self._reconciles = Histogram(
            "diptych_reconcile_seconds", "Duration of a reconcile.", ("kind", "outcome"), **quick
        )
        self._errors = Counter("diptych_reconcile_errors", "Reconciles that failed.", ("kind", "reason"), **here)
        self.queue_depth = Gauge("diptych_queue_depth", "Resources that wait for a worker.", **here)
        self.queue_wait = Histogram("diptych_queue_wait_seconds", "Wait for a worker.", **quick)
        self._objects = Gauge("diptych_objects", "Resources by phase.", ("kind", "phase"), **here)
        self._gpu_seconds = Counter("diptych_gpu_seconds", "GPU seconds that jobs used.", ("namespace",), **here)
        requests = ("verb", "resource", "code")
        self._requests = Counter(
            "diptych_api_requests", "Requests to the API server; code 0: no answer.", requests, **here
        )
        self._request_seconds = Histogram("diptych_api_request_seconds", "Duration of a request.", ("verb",), **quick)
        self._repairs = Counter("diptych_drift_repaired", "Children brought back to what they were.", ("kind",), **here)
        self.leader = Gauge("diptych_leader", "1 while this replica holds the Lease.", **here)
        self.watch_age = Gauge("diptych_watch_age_seconds", "Seconds since a watch was heard.", ("kind",), **here)
        self._phases: dict[Ref, str] = {}
        job = ("namespace", "name")
        self._training = {
            "step": Gauge("diptych_job_step", "Optimiser steps of a running job.", job, **here),
            "loss": Gauge("diptych_job_loss", "Training loss of a running job.", job, **here),
            "imagesPerSecond": Gauge("diptych_job_images_per_second", "Pictures a second, all workers.", job, **here),
            "peakGpuMemoryBytes": Gauge("diptych_job_peak_gpu_memory_bytes", "Of its first worker.", job, **here),
        }
        self._spent = {
            "phases": Gauge("diptych_job_phase_seconds", "Time of a running job's phases.", (*job, "phase"), **here),
            "parts": Gauge("diptych_job_part_seconds", "Time of the parts of training.", (*job, "part"), **here),
        }

        self._named: dict[tuple[Ref, str], frozenset[str]] = {}
        """Phases and parts that are shown of a job."""

    def page(self) -> bytes:
        """Return all figures in Prometheus' text form."""
        return generate_latest(self.registry)

    def reconciled(self, kind: str, outcome: str, seconds: float) -> None:
        """Count a reconcile; `done` is the good outcome."""
        self._reconciles.labels(kind, outcome).observe(seconds)
        if outcome not in ("done", "conflict"):
            self._errors.labels(kind, outcome).inc()

    def requested(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Count a request to the API server."""
        self._requests.labels(verb, resource, code).inc()
        self._request_seconds.labels(verb).observe(seconds)

    def repaired(self, kind: str) -> None:
        """Count a child that was brought back."""
        self._repairs.labels(kind).inc()

    def status(self, ref: Ref, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Count a resource in its phase, and the GPU seconds that its status gained."""
        phase, known = str(after.get("phase", "")), self._phases.get(ref)
        if phase != known:
            self._leave(ref, known)
            self._objects.labels(ref.kind.kind, phase).inc()
            self._phases[ref] = phase
        self._tell_training(ref, (after.get("progress") or {}) if phase == "Running" else {})
        gained = after.get("gpuSeconds", 0) - before.get("gpuSeconds", 0)
        if gained > 0:
            self._gpu_seconds.labels(ref.namespace).inc(gained)

    def forget(self, ref: Ref) -> None:
        """Stop counting a resource that is gone."""
        self._leave(ref, self._phases.pop(ref, None))
        self._tell_training(ref, {})

    def _tell_training(self, ref: Ref, progress: Mapping[str, Any]) -> None:
        """Show what a running job tells of itself; what it does not tell is not shown."""
        if ref.kind != FINE_TUNE_JOB:
            return
        for name, gauge in self._training.items():
            if (value := progress.get(name)) is not None:
                gauge.labels(ref.namespace, ref.name).set(value)
            else:
                with suppress(KeyError):
                    gauge.remove(ref.namespace, ref.name)
        for name, gauge in self._spent.items():
            told = {one["name"]: one["seconds"] for one in progress.get(name) or ()}
            for part, seconds in told.items():
                gauge.labels(ref.namespace, ref.name, part).set(seconds)
            for part in self._named.pop((ref, name), frozenset()) - told.keys():
                gauge.remove(ref.namespace, ref.name, part)
            if told:
                self._named[ref, name] = frozenset(told)

    def _leave(self, ref: Ref, phase: str | None) -> None:
        if phase is not None:
            self._objects.labels(ref.kind.kind, phase).dec()
