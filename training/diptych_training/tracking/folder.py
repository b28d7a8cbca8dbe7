"""A folder in the form of MLflow's file store, for machines without a server: `mlflow ui` and `migrate` read it."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import yaml

from diptych_training.run_store_local import append, make_folder, write_file
from diptych_training.tracking.facts import RUN_TAG, Figure
from diptych_training.tracking.place import Begun, TrackingAwayError

META: Final = "meta.yaml"
STATUS: Final = {"RUNNING": 1, "FINISHED": 3, "FAILED": 4, "KILLED": 5}
"""The numbers of MLflow's run states."""
SOURCE_TYPE: Final = 4
"""MLflow's number for a program that is none of its own kinds."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The root of a file store. Files are replaced in one step; figures are lines that are added."""

    root: Path
    lines: dict[Path, set[str]] = field(default_factory=dict)
    """What the files of figures hold."""

    def begin(self, experiment: str, name: str, tags: Mapping[str, str], began_ms: int) -> Begun:
        """Return the run with these tags' RUN_TAG, made where there is none, and say that it goes on."""
        with _told(self.root):
            home = self._experiment(experiment, began_ms)
            found = [tag.parent.parent for tag in home.glob(f"*/tags/{RUN_TAG}") if tag.read_text() == tags[RUN_TAG]]
            folder = found[0] if found else home / uuid.uuid4().hex
            write_file(folder / "tags" / RUN_TAG, tags[RUN_TAG].encode())  # first: who comes after a kill finds it
            if not (folder / META).exists():
                self._make(folder, name, tags, began_ms)
            self._set(folder, status=STATUS["RUNNING"], end_time=None)
            return Begun(str(folder), _meta(folder)["artifact_uri"])

    def tell(self, run: str, params: Mapping[str, str], figures: Sequence[Figure], at_ms: int) -> None:
        """Add parameters and figures; a line that is there already is not written twice."""
        folder = Path(run)
        with _told(folder):
            for name, value in params.items():
                make_folder((folder / "params" / name).parent)
                (folder / "params" / name).write_text(value, encoding="utf-8")
            lines: dict[str, list[str]] = {}
            for figure in figures:
                lines.setdefault(figure.key, []).append(f"{at_ms} {figure.value!r} {figure.step}\n")
            for key, some in lines.items():
                self._add(folder / "metrics" / key, some)

    def put(self, begun: Begun, path: str, data: BinaryIO, size: int) -> None:
        """Add a file to the run."""
        target = Path(begun.run, "artifacts", path)
        with _told(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            half = target.with_name(f".{target.name}.half")
            with half.open("wb") as file:
                while chunk := data.read(1 << 20):
                    file.write(chunk)
            if half.stat().st_size != size:
                raise TrackingAwayError(f"{target}: {half.stat().st_size} of {size} bytes came.")
            half.replace(target)

    def register(self, begun: Begun, model: str, alias: str, tags: Mapping[str, str]) -> str | None:  # noqa: ARG002 -- no registry
        """Leave alone: versions of models are kept by servers."""
        return None

    def end(self, run: str, status: str, ended_ms: int) -> None:
        """Say how the run ended."""
        with _told(Path(run)):
            self._set(Path(run), status=STATUS[status], end_time=ended_ms)

    def close(self) -> None:
        """Hold nothing."""

    def _experiment(self, name: str, now_ms: int) -> Path:
        for meta in sorted(self.root.glob(f"*/{META}")):
            if _meta(meta.parent).get("name") == name:
                return meta.parent
        number = str(uuid.uuid4().int)[:18]
        home = self.root / number
        facts = {"name": name, "experiment_id": number, "artifact_location": home.absolute().as_uri()}
        times = {"creation_time": now_ms, "last_update_time": now_ms, "lifecycle_stage": "active"}
        write_file(home / META, yaml.safe_dump(facts | times).encode())
        return home

    def _make(self, folder: Path, name: str, tags: Mapping[str, str], began_ms: int) -> None:
        for part in ("artifacts", "metrics", "params", "tags"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        facts = {
            "run_id": folder.name,
            "run_uuid": folder.name,
            "run_name": name,
            "experiment_id": folder.parent.name,
            "artifact_uri": (folder / "artifacts").absolute().as_uri(),
            "start_time": began_ms,
            "end_time": None,
            "status": STATUS["RUNNING"],
            "lifecycle_stage": "active",
            "user_id": "diptych",
            "source_type": SOURCE_TYPE,
            "source_name": "",
            "source_version": "",
            "entry_point_name": "",
            "tags": [],
        }
        for key, value in {**tags, "mlflow.runName": name}.items():
            write_file(folder / "tags" / key, value.encode())
        write_file(folder / META, yaml.safe_dump(facts).encode())

    def _set(self, folder: Path, **changes: Any) -> None:  # noqa: ANN401 -- of meta.yaml
        write_file(folder / META, yaml.safe_dump(_meta(folder) | changes).encode())

    def _add(self, file: Path, lines: Sequence[str]) -> None:
        known = self.lines.get(file)
        if known is None:
            known = self.lines[file] = set(file.read_text().splitlines(keepends=True) if file.exists() else ())
        if fresh := [line for line in lines if line not in known]:
            append(file, "".join(fresh).encode())
            known.update(fresh)


def _meta(folder: Path) -> dict[str, Any]:
    found = yaml.safe_load((folder / META).read_text())
    return found if isinstance(found, dict) else {}


@contextmanager
def _told(place: Path) -> Iterator[None]:
    """Turn what goes wrong on the disk into TrackingAwayError."""
    try:
        yield
    except (OSError, yaml.YAMLError, KeyError) as error:
        raise TrackingAwayError(f"{place}: {getattr(error, 'strerror', None) or error}") from error
