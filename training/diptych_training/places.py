"""A spec's places as this process finds them: absolute paths, mounted volumes, secrets of the environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from diptych_api.after import Evaluation, Publish, Tracking
from diptych_api.dataset import PHASH, Captioning, Dedup
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_api.names import WORKSPACE
from diptych_api.sources import Base, Claim, DatasetSource, Output, SecretKey
from diptych_training.run_store_location import mounted
from diptych_training.suites import is_file
from diptych_training.tracking.place import is_server, local_path

Mounts = Mapping[str, Path]
"""Where volumes are mounted, by the name of their claim."""
HUB_TOKEN: Final = "HF_TOKEN"  # noqa: S105 - the variable's name
DATASET_TOKEN: Final = "DIPTYCH_DATASET_TOKEN"  # noqa: S105 - the same
TRACKING_TOKEN: Final = "MLFLOW_TRACKING_TOKEN"  # noqa: S105 - the same
PUBLISH_TOKEN: Final = "DIPTYCH_PUBLISH_TOKEN"  # noqa: S105 - the same
"""In a pod, the variables with the tokens of a job, whatever the Secrets call their keys."""


def localized(spec: FineTuneJobSpec, base_dir: Path, mounts: Mounts | None = None) -> FineTuneJobSpec:
    """Return the spec with relative local paths made absolute and, in a pod, volumes as folders.

    ``mounts`` is None on one machine: there, volumes stay in the spec and are refused where they are met.
    In a pod, credentials leave the spec: the object stores' own tools read them from the environment. Relative paths
    start at the workspace, a volume; what it has not is looked for in ``base_dir``, where the image has the examples.

    Raises:
        UnsupportedHere: for a volume that is not mounted in this pod, or a folder that is outside of it.

    """
    data = spec.dataset
    changes = {
        "source": _source(data.source, base_dir, mounts),
        "dedup": _dedup(data.dedup, base_dir, mounts),
        "captioning": _captioning(data.captioning, base_dir, mounts),
        "publish_to": _target(data.publish_to, base_dir, mounts),
    }
    return spec.model_copy(
        update={
            "base": _base(spec.base, base_dir, mounts),
            "dataset": data.model_copy(update=changes),
            "evaluation": _evaluation(spec.evaluation, base_dir, mounts),
            "lora": spec.lora.model_copy(update={"init_from": _path(spec.lora.init_from, base_dir, mounts)}),
            "output": _output(spec.output, mounts),
            "tracking": _tracking(spec.tracking, base_dir, mounts),
            "publish": _publish(spec.publish, base_dir, mounts),
        }
    )


def with_published_places(spec: FineTuneJobSpec, base_dir: Path, mounts: Mounts | None) -> FineTuneJobSpec:
    """Return the spec with the run store and the places that hear of a promotion as this process finds them."""
    places = {
        "output": _output(spec.output, mounts),
        "publish": _publish(spec.publish, base_dir, mounts),
        "tracking": _tracking(spec.tracking, base_dir, mounts),
    }
    return spec.model_copy(update=places)


def _base(base: Base, base_dir: Path, mounts: Mounts | None) -> Base:
    if mounts is None:
        return base.model_copy(update={"uri": _path(base.uri, base_dir)})
    if base.pvc is not None:
        return base.model_copy(update={"uri": _folder(base.pvc, mounts, "spec.base"), "pvc": None})
    model = base.hugging_face
    if model is not None:
        return base.model_copy(
            update={"hugging_face": model.model_copy(update={"token": _token(model.token, HUB_TOKEN)})}
        )
    return base.model_copy(update={"uri": _path(base.uri, base_dir, mounts)})


def _evaluation(settings: Evaluation, base_dir: Path, mounts: Mounts | None) -> Evaluation:
    networks = {name: _path(place, base_dir, mounts) for name, place in settings.extractors}
    extractors = settings.extractors.model_copy(update=networks)
    suite = settings.suite
    if suite is not None and is_file(suite):
        suite = _path(suite, base_dir, mounts)
    rivals = _path(settings.rivals, base_dir, mounts)
    return settings.model_copy(update={"rivals": rivals, "extractors": extractors, "suite": suite})


def _dedup(settings: Dedup, base_dir: Path, mounts: Mounts | None) -> Dedup:
    if settings.embedder == PHASH:
        return settings
    return settings.model_copy(update={"embedder": _path(settings.embedder, base_dir, mounts)})


def _captioning(settings: Captioning, base_dir: Path, mounts: Mounts | None) -> Captioning:
    if settings.provider == "OpenAI":
        return settings
    return settings.model_copy(update={"model": _path(settings.model, base_dir, mounts)})


def _source(source: DatasetSource, base_dir: Path, mounts: Mounts | None) -> DatasetSource:
    if mounts is None:
        return source.model_copy(update={"uri": _path(source.uri, base_dir)})
    data = source.hugging_face
    if data is not None:
        return source.model_copy(
            update={"hugging_face": data.model_copy(update={"token": _token(data.token, DATASET_TOKEN)})}
        )
    field = "spec.dataset.source"
    uri = _folder(source.pvc, mounts, field) if source.pvc is not None else _path(source.uri, base_dir, mounts)
    return source.model_copy(update={"uri": uri, "pvc": None, "credentials": None})


def _output(output: Output, mounts: Mounts | None) -> Output:
    if mounts is None:
        return output
    uri = _folder(output.pvc, mounts, "spec.output") if output.pvc is not None else output.uri
    if WORKSPACE in mounts and uri is not None and "://" not in uri:
        uri = str(mounts[WORKSPACE] / uri)
    return output.model_copy(update={"uri": uri, "pvc": None, "credentials": None})


def _target(uri: str | None, base_dir: Path, mounts: Mounts | None) -> str | None:
    """Return where something is written to: in a pod the workspace is where relative paths start."""
    if uri is None or "://" in uri:
        return uri
    return str((mounts[WORKSPACE] if mounts and WORKSPACE in mounts else base_dir) / uri)


def _tracking(tracking: Tracking | None, base_dir: Path, mounts: Mounts | None) -> Tracking | None:
    if tracking is None:
        return None
    uri = tracking.uri if is_server(tracking.uri) else _target(local_path(tracking.uri), base_dir, mounts)
    token = tracking.token if mounts is None else _token(tracking.token, TRACKING_TOKEN)
    return tracking.model_copy(update={"uri": uri, "token": token})


def _publish(publish: Publish | None, base_dir: Path, mounts: Mounts | None) -> Publish | None:
    if publish is None:
        return None
    token = publish.token if mounts is None else _token(publish.token, PUBLISH_TOKEN)
    return publish.model_copy(update={"uri": _target(publish.uri, base_dir, mounts), "token": token})


def _token(token: SecretKey | None, variable: str) -> SecretKey | None:
    """Return a token that is read from the variable of its kind."""
    return None if token is None else token.model_copy(update={"key": variable})


def _folder(claim: Claim, mounts: Mounts, field: str) -> str:
    return str(mounted(claim, mounts, field))


def _path(uri: str | None, base_dir: Path, mounts: Mounts | None = None) -> str | None:
    if uri is None or "://" in uri:
        return uri
    in_workspace = mounts[WORKSPACE] / uri if mounts and WORKSPACE in mounts else None
    found = in_workspace if in_workspace is not None and in_workspace.exists() else base_dir / uri
    return str(found.resolve())
