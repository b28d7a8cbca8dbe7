"""A job that the operator really saw through, and copies of it in any number, written into etcd as they are stored."""

import base64
import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import httpx2

from cluster.control_plane import ControlPlane
from cluster.objects import reference
from cluster.rayjob_states import TO_RUNNING
from cluster.rest import Rest
from diptych_api import names
from diptych_api.finetunejob import FineTuneJob
from diptych_api.wire import from_wire
from diptych_bench.operator_job import PATTERN, Stage, finished, training
from diptych_bench.operator_plane import NAMESPACE, await_served
from diptych_bench.operator_process import OperatorProcess, started_operator
from diptych_operator.kinds import FINE_TUNE_JOB, FINE_TUNE_REPORT, NETWORK_POLICY, RAY_JOB, Manifest, kind_of
from diptych_operator.manifests.job_volumes import run_place
from diptych_operator.sealing import sealed, unsealed

BUILT_IN: Final = frozenset({"networking.k8s.io"})
"""Groups that the API server keeps under the name of the resource alone."""
AT_ONCE: Final = 10
"""Jobs of one transaction: etcd takes 1.5 MiB."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A job with its children and its report as they were stored at one moment."""

    objects: tuple[Manifest, ...]

    @classmethod
    def of(cls, api: Rest, name: str) -> "Pattern":
        """Return what is stored now."""
        parts = (
            (FINE_TUNE_JOB, name),
            (RAY_JOB, names.ray_job_name(name)),
            (NETWORK_POLICY, names.job_policy_name(name)),
            (FINE_TUNE_REPORT, names.report_name(name)),
        )
        found = (api.read(reference(kind.api_version, kind.kind, part, NAMESPACE)) for kind, part in parts)
        return cls(tuple(found))

    def copies(self, name: str) -> Iterator[Manifest]:
        """Yield a job of another name with all that belongs to it, as if the operator had made it."""
        before, uids = self.objects[0]["metadata"]["name"], {}
        for found in self.objects:
            uids[found["metadata"]["uid"]] = str(uuid.uuid4())
        for found in self.objects:
            copy, applied = _renamed(found, before, name, uids), unsealed(found)
            if applied is not None:
                marks = sealed(_renamed(applied, before, name, uids))["metadata"]["annotations"]
                copy["metadata"]["annotations"] |= marks
            if kind_of(copy) == FINE_TUNE_JOB:
                copy["status"]["run"] = run_place(from_wire(FineTuneJob, copy))
            del copy["metadata"]["resourceVersion"]
            yield copy


def store_copies(plane: ControlPlane, pattern: Pattern, wanted: Sequence[str]) -> None:
    """Store copies past the API server, which is away meanwhile and finds them in etcd when it starts."""
    plane.stop_apiserver()
    with httpx2.Client(base_url=plane.etcd.url, timeout=60, trust_env=False) as etcd:
        for group in _groups(wanted):
            puts = [{"requestPut": _put(copy)} for name in group for copy in pattern.copies(name)]
            etcd.post("/v3/kv/txn", json={"success": puts}).raise_for_status()
    plane.start_apiserver()
    await_served(plane, [kind_of(found) for found in pattern.objects])


@dataclass(frozen=True, slots=True)
class Patterns:
    """The same job at two moments."""

    running: Pattern
    ended: Pattern


def played_patterns(plane: ControlPlane) -> Patterns:
    """Let the operator see a job through, and stop it."""
    with started_operator(plane) as operator:
        stage = Stage(plane, PATTERN)
        stage.begin()
        for state in TO_RUNNING:
            stage.play(state)
        stage.await_status(lambda status: status.get("phase") == "Running")
        stage.say(training(10))
        running = _settled(operator, plane, stage, "Running")
        stage.say(finished())
        stage.play("Succeeded")
        return Patterns(running, _settled(operator, plane, stage, "Succeeded"))


def _settled(operator: OperatorProcess, plane: ControlPlane, stage: Stage, phase: str) -> Pattern:
    stage.await_status(lambda status: status.get("phase") == phase and "progress" in status)
    operator.settle()
    return Pattern.of(plane.api, stage.name)


def _groups(wanted: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(wanted), AT_ONCE):
        yield wanted[first : first + AT_ONCE]


def _put(stored: Manifest) -> dict[str, str]:
    kind, metadata = kind_of(stored), stored["metadata"]
    place = kind.plural if kind.group in BUILT_IN else f"{kind.group}/{kind.plural}"
    key = f"/registry/{place}/{metadata['namespace']}/{metadata['name']}"
    return {"key": _encoded(key), "value": _encoded(json.dumps(stored))}


def _renamed(manifest: Manifest, before: str, name: str, uids: dict[str, str]) -> Manifest:
    text = json.dumps(manifest).replace(before, name)
    for old, new in uids.items():
        text = text.replace(old, new)
    found: Manifest = json.loads(text)
    return found


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
