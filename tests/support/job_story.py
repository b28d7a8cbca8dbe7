"""One FineTuneJob in a world of its own: KubeRay, the program, people and the clock act only when a test says so."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from cluster.player import STATES, _merged, _place, _words
from diptych_api.diffusionmodel import DiffusionModel
from diptych_api.finetunejob import FineTuneJob
from diptych_api.finetunereport import FineTuneReport
from diptych_api.jobstatus import FineTuneJobStatus
from diptych_api.wire import from_wire
from diptych_operator.child import Child, Pod, Trouble
from diptych_operator.defaults import Defaults
from diptych_operator.jobs.plan import plan
from diptych_operator.kinds import JOB, NETWORK_POLICY, RAY_JOB, Manifest, Ref, ref_of
from diptych_operator.observed import JobSeen
from diptych_operator.plan import Action, Apply, Note, Plan
from diptych_operator.status_values import status_values

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
DIGEST = f"sha256:{'a' * 64}"
ARTIFACT = {"uri": "s3://bucket/runs/artifact", "digest": DIGEST, "sizeBytes": 9, "trainableParameters": 9}
TO_RUNNING = ("Initializing", "WorkersStarting", "Submitting", "Pending", "Running")
MOST_PLANS = 100
RAY_JOB_REF, POLICY_REF = Ref(RAY_JOB, "art", "noto"), Ref(NETWORK_POLICY, "art", "noto-finetune")
PUBLISHER_REF = Ref(JOB, "art", "noto-publish")


def job_values(*, labels: dict[str, str] | None = None, **spec: Any) -> Manifest:
    """Return a FineTuneJob as the API server stores it."""
    base = {
        "base": {"builtin": "tiny-emoji"},
        "dataset": {"source": {"uri": "s3://bucket/pictures"}},
        "output": {"uri": "s3://bucket/runs"},
        "resources": {"workers": 2, "gpusPerWorker": 1},
    }
    metadata = {"name": "noto", "namespace": "art", "uid": "job-uid", "generation": 1, "labels": labels or {}}
    return {"apiVersion": "diptych.dev/v1alpha1", "kind": "FineTuneJob", "metadata": metadata, "spec": base | spec}


@dataclass
class JobStory:
    """The world of one job. `told` are the Events, `writes` how many writes the operator made."""

    job: Manifest = field(default_factory=job_values)
    now: datetime = BEGIN
    defaults: Defaults = Defaults(image="image:1")  # noqa: RUF009 - frozen
    objects: dict[Ref, Manifest] = field(default_factory=dict)
    report: Manifest | None = None
    model: Manifest | None = None
    pods: tuple[Pod, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    refused: str = ""
    told: dict[tuple[str, str, str], Note] = field(default_factory=dict)
    repairs: int = 0
    lets_go: bool = True
    """KubeRay lets go of a RayJob as soon as it is deleted, and its pods are gone."""
    kill_at: int | None = None
    """The operator is killed after so many writes, and started again."""
    writes: int = 0
    phases: list[str] = field(default_factory=list)
    _numbers: int = 0

    @property
    def status(self) -> FineTuneJobStatus:
        return from_wire(FineTuneJob, self.job).status

    @property
    def phase(self) -> str:
        return self.status.phase

    @property
    def ray_job(self) -> Manifest | None:
        return self.objects.get(RAY_JOB_REF)

    @property
    def attempt(self) -> str:
        """Return the attempt of the RayJob that is there."""
        assert self.ray_job is not None
        return str(self.ray_job["metadata"]["annotations"]["diptych.dev/attempt"])

    def condition(self, kind: str) -> tuple[str, str, str]:
        """Return status, reason and message of a condition."""
        found = {condition.type: condition for condition in self.status.conditions}[kind]
        return found.status, found.reason, found.message

    def seen(self) -> JobSeen:
        others = {RAY_JOB_REF, POLICY_REF, PUBLISHER_REF}
        accounts = [o for ref, o in self.objects.items() if ref not in others]
        policy, publisher = self.objects.get(POLICY_REF), self.objects.get(PUBLISHER_REF)
        return JobSeen(
            job=from_wire(FineTuneJob, self.job),
            ray_job=None if self.ray_job is None else Child.of(self.ray_job),
            policy=None if policy is None else Child.of(policy),
            publisher=None if publisher is None else Child.of(publisher),
            model=None if self.model is None else from_wire(DiffusionModel, self.model),
            accounts=tuple(Child.of(found) for found in accounts),
            report=None if self.report is None else from_wire(FineTuneReport, self.report),
            pods=self.pods,
            troubles=self.troubles,
            refused=self.refused,
        )

    def plan(self) -> Plan:
        made = plan(self.seen(), self.defaults, self.now)
        assert made is not None
        return made

    def settle(self, most: int | None = None) -> "JobStory":
        """Let the operator work until nothing is to be done now, or until it was stopped after `most` writes."""
        last = None if most is None else self.writes + most
        for _ in range(MOST_PLANS):
            made = self.plan()
            writes = self._writes(made)
            for write in writes:
                write()
                self.writes += 1
                if self.writes == last:
                    return self
                if self.writes == self.kill_at:  # what is left of this plan is lost; another operator makes a new one
                    break
            if not writes and made.requeue_s != 0:
                return self
        raise AssertionError(f"it does not come to rest: {self.phases[-8:]}")

    def play(self, *states: str) -> "JobStory":
        """Let KubeRay write statuses, and the operator see each of them."""
        for state in states:
            found = self.ray_job
            assert found is not None
            status = found.get("status", {})
            wanted = STATES["RayJob"][state]
            assert _place("RayJob", status) in wanted.after
            found["metadata"]["generation"] = 1
            words = _words(found) | {"now": self._moment(), "new-cluster": f"noto-{self.attempt}", "new-job": "j"}
            found["status"] = _merged(status, wanted.change, words)
            self.settle()
        return self

    def run(self) -> "JobStory":
        """Bring the job from nothing, or from the end of an attempt, to a running attempt."""
        return self.settle().play(*TO_RUNNING)

    def says(self, phase: str, **fields: Any) -> "JobStory":
        """Let the program report; the attempt is the RayJob's unless said otherwise."""
        given = {"phase": phase, "totalSteps": 100, "attempt": int(self.attempt), "time": self._moment()} | fields
        head = {"apiVersion": "diptych.dev/v1alpha1", "kind": "FineTuneReport", "metadata": {"name": "noto"}}
        self.report = {**head, "spec": given}
        return self.settle()

    def fails(self, reason: str, message: str = "It went wrong.", **fields: Any) -> "JobStory":
        """Let the program fail: it reports, and Ray notices."""
        self.says("Failed", step=fields.get("step", 0), failure={"reason": reason, "message": message, **fields})
        return self.play("Failed")

    def succeeds(self) -> "JobStory":
        return self.says("Succeeded", step=100, artifact=ARTIFACT).play("Succeeded")

    def edit(self, **spec: Any) -> "JobStory":
        """Let a person change the spec."""
        metadata = self.job["metadata"] | {"generation": self.job["metadata"]["generation"] + 1}
        self.job = self.job | {"spec": self.job["spec"] | spec, "metadata": metadata}
        return self.settle()

    def annotate(self, name: str, text: str) -> "JobStory":
        annotations = self.job["metadata"].get("annotations", {}) | {f"diptych.dev/{name}": text}
        self.job = self.job | {"metadata": self.job["metadata"] | {"annotations": annotations}}
        return self.settle()

    def wait(self, seconds: float) -> "JobStory":
        """Let time pass; the operator looks again when it wanted to."""
        end = self.now + timedelta(seconds=seconds)
        self.settle()
        while (delay_s := self.plan().requeue_s) is not None and self.now + timedelta(seconds=delay_s) < end:
            self.now += timedelta(seconds=max(delay_s, 1))
            self.settle()
        self.now = end
        return self.settle()

    def lose(self, ref: Ref = RAY_JOB_REF) -> "JobStory":
        """Let somebody delete a child."""
        del self.objects[ref]
        return self.settle()

    def copy(self) -> "JobStory":
        """Return a world in the same state that goes its own way."""
        return copy.deepcopy(self)

    def _moment(self) -> str:
        return f"{self.now:%Y-%m-%dT%H:%M:%SZ}"

    def _writes(self, made: Plan) -> list[Callable[[], None]]:
        """Return every write of a plan, in the order of the executor."""
        told = {(note.reason, note.key, note.message): note for note in made.notes}
        fresh = {name: note for name, note in told.items() if name not in self.told}
        writes: list[Callable[[], None]] = [partial(self._act, action) for action in made.actions]
        writes += [partial(self.told.__setitem__, name, note) for name, note in fresh.items()]
        status = status_values(made.status)
        if status != self.job.get("status", {}):
            writes.append(partial(self._write_status, status))
        return writes

    def _write_status(self, status: Manifest) -> None:
        self.job = self.job | {"status": status}
        if status["phase"] not in self.phases[-1:]:
            self.phases.append(status["phase"])

    def _act(self, action: Action) -> None:
        if isinstance(action, Apply):
            self.repairs += action.repairs
            self._apply(action.manifest)
        elif self.lets_go:
            assert self.objects[action.ref]["metadata"]["uid"] == action.uid
            del self.objects[action.ref]
            self.pods = ()
        else:
            found = self.objects[action.ref]
            metadata = found["metadata"] | {"deletionTimestamp": self._moment()}
            self.objects[action.ref] = found | {"metadata": metadata}

    def _apply(self, manifest: Manifest) -> None:
        known = self.objects.get(ref_of(manifest), {})
        self._numbers += 1
        made = {"uid": f"uid-{self._numbers}", "creationTimestamp": self._moment(), "generation": 1}
        metadata = made | known.get("metadata", {}) | manifest["metadata"]
        kept = {"status": known["status"]} if "status" in known else {}
        self.objects[ref_of(manifest)] = {**manifest, **kept, "metadata": metadata}
