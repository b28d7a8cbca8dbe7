"""A place for tracked runs in memory, which can be away; and a run that was trained long ago."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from diptych_api.finetunejob import FineTuneJobSpec
from diptych_api.presets import resolve
from diptych_api.report import Report
from diptych_api.runstore import RUN_FILE, RunRecord
from diptych_api.sources import Output
from diptych_training.run_store import RunStore
from diptych_training.tracking.facts import RUN_TAG, Figure
from diptych_training.tracking.place import Begun, TrackingAwayError

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ARTIFACT = {"uri": "x", "digest": f"sha256:{'0' * 64}", "sizeBytes": 9, "trainableParameters": 2}


@dataclass
class MemoryPlace:
    """Keeps what it is told. It answers ``calls`` more times, if that is set, and is away from then on."""

    calls: int | None = None
    runs: dict[str, str] = field(default_factory=dict)
    """Runs by their tag."""
    params: dict[str, str] = field(default_factory=dict)
    figures: set[tuple[str, float, int, int]] = field(default_factory=set)
    """Key, value, step and time."""
    files: dict[str, bytes] = field(default_factory=dict)
    puts: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    """The run of each version of a model."""
    aliases: dict[str, str] = field(default_factory=dict)
    status: str = ""

    def begin(self, experiment: str, name: str, tags: Mapping[str, str], began_ms: int) -> Begun:
        """Return the run of this tag."""
        self._answer()
        self.status = "RUNNING"
        return Begun(self.runs.setdefault(tags[RUN_TAG], f"{experiment}/{name}"), "memory:")

    def tell(self, run: str, params: Mapping[str, str], figures: Sequence[Figure], at_ms: int) -> None:
        """Keep figures, equal ones once; fails after keeping them, as a server whose answer is lost."""
        self.params |= params
        self.figures |= {(f.key, f.value, f.step, at_ms) for f in figures}
        self._answer()

    def put(self, begun: Begun, path: str, data: BinaryIO, size: int) -> None:
        """Keep a file."""
        self._answer()
        self.files[path] = data.read()
        assert len(self.files[path]) == size
        self.puts.append(path)

    def register(self, begun: Begun, model: str, alias: str, tags: Mapping[str, str]) -> str | None:
        """Make a version, if the run has none."""
        self._answer()
        version = next((v for v, run in self.versions.items() if run == begun.run), str(len(self.versions) + 1))
        self.versions[version] = begun.run
        self.aliases[f"{model}@{alias}"] = version
        return version

    def end(self, run: str, status: str, ended_ms: int) -> None:
        """Keep how the run ended."""
        self._answer()
        self.status = status

    def close(self) -> None:
        """Hold nothing."""

    def losses(self) -> list[tuple[int, float]]:
        """Return steps and losses."""
        return sorted((step, value) for key, value, step, _ in self.figures if key == "loss")

    def _answer(self) -> None:
        if self.calls is not None:
            if self.calls <= 0:
                raise TrackingAwayError("nobody answers")
            self.calls -= 1


def past_run(root: Path, steps: int = 5, **tracking: Any) -> tuple[RunStore, FineTuneJobSpec]:
    """Return a store with what a run of so many steps leaves, and its spec; ``tracking`` is camelCase."""
    values = {"base": {"builtin": "tiny-emoji"}, "dataset": {"source": {"uri": "pictures"}}, "tracking": tracking}
    spec = resolve(FineTuneJobSpec.model_validate(values))
    store = RunStore.open(Output(uri="runs"), "local", "noto-12345678", root)
    store.write_json(RUN_FILE, RunRecord(name="noto", run=store.name, spec=spec, created=BEGAN))
    train_on(store, 0, steps)
    store.write_bytes("samples/step-000000.png", b"a sheet")
    store.write_bytes("artifact/peft/adapter model.safetensors", b"weights")
    store.write_bytes("evaluation/report.html", b"<p>better</p>")
    return store, spec


def train_on(store: RunStore, begin: int, end: int) -> None:
    """Add steps to metrics.jsonl."""
    rows = [{"step": step, "loss": 1 / step, "learning_rate": 0.1} for step in range(begin + 1, end + 1)]
    store.append("metrics.jsonl", *map(json.dumps, rows))


def report(phase: str, **fields: Any) -> Report:
    """Return a report; ``fields`` are camelCase."""
    return Report.model_validate({"phase": phase, "time": BEGAN, "step": 5, **fields})
