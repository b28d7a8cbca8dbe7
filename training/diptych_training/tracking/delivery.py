"""Brings a place up to what the run store has, and remembers in tracking.json how far it got."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, Literal

from pydantic import Field

from diptych_api.after import Tracking
from diptych_api.fields import Location, Record, Text
from diptych_api.report import Report
from diptych_api.runstore import ARTIFACT, EVALUATION, METRICS_FILE, RUN_FILE, SAMPLES, RunRecord
from diptych_training.letters import Row
from diptych_training.promotion import read_pointer
from diptych_training.run_store import RunStore
from diptych_training.sample_files import sample_path, sample_steps
from diptych_training.tracking.facts import STATUS, closing, figures, params, tags, under_way
from diptych_training.tracking.place import Begun, Place

TRACKING_FILE: Final = "tracking.json"
ROWS_AT_ONCE: Final = 300
EVALUATION_FILES: Final = ("report.html", "report.json", "compare.png", "loss.png", "loss.csv")
CHAMPION, CANDIDATE = "champion", "candidate"


class Sent(Record):
    """tracking.json: what a place was told so far."""

    format: Literal["diptych.tracking/1"] = Field(default="diptych.tracking/1", description="Form of this file.")
    uri: Location = Field(description="The place.")
    run: Location = Field(description="The run there.")
    artifacts: Location = Field(description="Where its files are.")
    lines: int = Field(default=0, ge=0, description="Lines of metrics.jsonl that are there.")
    until: int = Field(default=0, ge=0, description="Lines that were being sent.")
    at_ms: int = Field(default=0, ge=0, description="Time of those; sent again, they are the same figures.")
    files: dict[str, str] = Field(default={}, description="Files that are there, with what they were when sent.")
    version: Text | None = Field(default=None, description="Version in the model registry.")
    alias: Text | None = Field(default=None, description="Alias that this version was given.")
    ended: Text | None = Field(default=None, description="Digest of the last report that was told.")


@dataclass
class Delivery:
    """Sends what a place lacks. Cut short at any point, the next call goes on there and nothing is there twice."""

    store: RunStore
    tracking: Tracking
    place: Place
    stands: bool | None = None
    """Whether the run's model stands for it; None asks the models that the run store remembers."""
    sent: Sent | None = None
    record: RunRecord | None = field(default=None, init=False)
    goes_on: bool = field(default=False, init=False)
    """Whether this process has said that the run goes on."""

    def bring(self, report: Report) -> None:
        """Tell the place what is new. Raises TrackingAwayError, and what a store raises."""
        self.record = self.record or self.store.read_json(RUN_FILE, RunRecord)
        if self.record is None:
            return
        last = _digest(report.model_dump_json(exclude={"time", "active_seconds", "gpu_seconds", "phases"}).encode())
        known = self.sent or self.store.read_json(TRACKING_FILE, Sent)
        alias = self._alias(self.record, report, known)
        if known is not None and (known.uri, known.ended) == (self.tracking.uri, last):
            self._call(self.record, report, known, alias)
            return
        sent = self._begun(self.record, known)
        sent = self._files(self._rows(sent, report), report)
        if report.phase in STATUS:
            self._keep(self._ended(sent, report, last, alias))

    def _begun(self, record: RunRecord, known: Sent | None) -> Sent:
        if self.sent is not None and self.goes_on:
            return self.sent
        began = int(record.created.timestamp() * 1000)
        begun = self.place.begin(self.tracking.experiment, record.run, tags(record), began)
        self.goes_on = True
        if known is not None and (known.uri, known.run) == (self.tracking.uri, begun.run):
            self.sent = known
            return known
        self.place.tell(begun.run, params(record), [], began)
        return self._keep(Sent(uri=self.tracking.uri, run=begun.run, artifacts=begun.artifacts))

    def _rows(self, sent: Sent, report: Report) -> Sent:
        """Send the lines of metrics.jsonl from where the last call came to and, with any, how the run goes."""
        lines = self.store.read_lines(METRICS_FILE)
        if sent.lines < len(lines):
            self.place.tell(sent.run, {}, list(under_way(report)), int(report.time.timestamp() * 1000))
        while sent.lines < len(lines):
            if sent.until <= sent.lines:
                until = min(len(lines), sent.lines + ROWS_AT_ONCE)
                sent = self._keep(sent.model_copy(update={"until": until, "at_ms": _now_ms()}))
            rows = [Row(**json.loads(line)) for line in lines[sent.lines : sent.until]]
            self.place.tell(sent.run, {}, list(chain.from_iterable(map(figures, rows))), sent.at_ms)
            sent = self._keep(sent.model_copy(update={"lines": sent.until}))
        return sent

    def _files(self, sent: Sent, report: Report) -> Sent:
        for path, size, mark in self._wanted(report):
            if sent.files.get(path) == mark:
                continue
            with self.store.stream(path) as data:
                self.place.put(Begun(sent.run, sent.artifacts), path, data, size)
            sent = self._keep(sent.model_copy(update={"files": {**sent.files, path: mark}}))
        return sent

    def _wanted(self, report: Report) -> Iterator[tuple[str, int, str]]:
        """Yield files with their sizes and what tells whether they are others than before."""
        steps = sample_steps(self.store)
        sheets = self.store.sizes(SAMPLES) if steps else {}
        yield from ((path, sheets[path.rpartition("/")[2]], "") for path in map(sample_path, steps))
        if report.phase not in STATUS:
            return
        if report.artifact is not None:
            sizes = self.store.sizes(ARTIFACT)
            yield from ((f"{ARTIFACT}/{name}", sizes[name], report.artifact.digest) for name in sorted(sizes))
        for name in EVALUATION_FILES:
            if (data := self.store.read_bytes(f"{EVALUATION}/{name}")) is not None:
                yield f"{EVALUATION}/{name}", len(data), _digest(data)

    def _ended(self, sent: Sent, report: Report, last: str, alias: str | None) -> Sent:
        version, ended = sent.version, int(report.time.timestamp() * 1000)
        self.place.tell(sent.run, {}, list(closing(report)), ended)
        if alias is not None and self.record is not None:
            version = self._register(self.record, report, sent, alias)
        self.place.end(sent.run, STATUS[report.phase], ended)
        return sent.model_copy(update={"version": version, "alias": alias, "ended": last})

    def _alias(self, record: RunRecord, report: Report, known: Sent | None) -> str | None:
        """Return what the run's version is called in the registry; None where there is none.

        Where no model is remembered beside the run, as on a cluster, what it was called last stays.
        """
        if report.phase not in STATUS or report.artifact is None:
            return None
        if self.stands is not None:
            return CHAMPION if self.stands else CANDIDATE
        pointer = read_pointer(self.store, _model(record))
        if pointer is None or pointer.current is None:
            return CANDIDATE if known is None or known.alias is None else known.alias
        return CHAMPION if pointer.current.run == record.run else CANDIDATE

    def _call(self, record: RunRecord, report: Report, known: Sent, alias: str | None) -> None:
        """Give a version that is there its alias, unless it has it: a champion's another run may have got meanwhile."""
        is_champion = alias == CHAMPION and (self.stands or read_pointer(self.store, _model(record)) is not None)
        if alias is None or (alias == known.alias and not is_champion):
            return
        version = self._register(record, report, known, alias)
        self._keep(known.model_copy(update={"version": version, "alias": alias}))

    def _register(self, record: RunRecord, report: Report, sent: Sent, alias: str) -> str | None:
        digest = "" if report.artifact is None else report.artifact.digest
        facts = {"diptych.run": f"{record.namespace}/{record.run}", "digest": digest}
        return self.place.register(Begun(sent.run, sent.artifacts), _model(record), alias, facts)

    def _keep(self, sent: Sent) -> Sent:
        self.store.write_json(TRACKING_FILE, sent)
        self.sent = sent
        return sent


def _model(record: RunRecord) -> str:
    return record.name if record.spec.promotion is None else record.spec.promotion.model


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
