"""The artifact of a run: written beside the store, checked as a stranger would, then published in one step."""

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from diptych_api.after import Export
from diptych_api.artifact import (
    FOLDERS,
    ArtifactFormat,
    ArtifactRecord,
    BaseRecord,
    FileRecord,
    files_digest,
    files_size,
)
from diptych_api.errors import ArtifactInvalid
from diptych_api.report import ArtifactRef
from diptych_api.runstore import ARTIFACT, ARTIFACT_FILE
from diptych_api.sources import Base
from diptych_diffusion.adapter_check import check, check_saved
from diptych_diffusion.adapter_files import save_diffusers, save_kohya, save_peft
from diptych_diffusion.adapter_weights import AdapterWeights
from diptych_diffusion.components import Components
from diptych_diffusion.fingerprint import file_digest
from diptych_training.pipeline_folder import check_pipeline, save_pipeline
from diptych_training.run_store import RunStore
from diptych_training.run_store_errors import writing
from diptych_training.supported import SKIPPED
from diptych_training.whole_forms import Failed, write_beside_pipeline, write_with_base

KOHYA_FILE: Final = "{name}.safetensors"
SAME_EFFECT: Final = 1e-4
"""Allowed relative difference of the effects of an adapter's forms."""
Writer = Callable[[Path, AdapterWeights], object]


def base_record(base: Base, components: Components) -> BaseRecord:
    """Return how an artifact names its base: where it came from, and the digest of its weights."""
    if base.hugging_face is not None:
        source, revision = f"huggingFace:{base.hugging_face.repo}", base.hugging_face.revision
    elif base.pvc is not None:
        source, revision = f"pvc:{base.pvc.claim_name}/{base.pvc.path}", None
    else:
        source, revision = base.uri or f"builtin:{base.builtin}", None
    return BaseRecord(source=source, revision=revision, digest=f"sha256:{components.digest}")


def lora_formats(export: Export, *, dora: bool) -> list[ArtifactFormat]:
    """Return the forms of an adapter: PEFT always, others as asked; kohya files cannot hold DoRA."""
    asked = {"PEFT", *export.formats} - ({"Kohya"} if dora else set()) - SKIPPED.keys()
    return [name for name in FOLDERS if name in asked]


def pipeline_formats(export: Export) -> list[ArtifactFormat]:
    """Return the forms of a whole model: a pipeline always, and ONNX if asked."""
    return ["Pipeline", *(name for name in export.formats if name == "ONNX")]


def skipped(export: Export) -> dict[ArtifactFormat, str]:
    """Return the forms that were asked for and cannot be made, each with the reason."""
    return {name: reason for name, reason in SKIPPED.items() if name in export.formats}


def write_lora_artifact(
    store: RunStore, base: Components, weights: AdapterWeights, draft: ArtifactRecord, formats: Sequence[ArtifactFormat]
) -> ArtifactRef:
    """Write, check and publish an adapter in every form; ``base`` is its base without adapter.

    ``draft`` says everything but formats and files.

    Raises:
        ArtifactInvalid: says what failed; nothing was published, and an older artifact stays.

    """
    digest = f"sha256:{base.digest}"
    with _workshop() as folder:
        wanted = check(weights, base.denoiser, digest, base.text_encoder)
        writers = _writers(draft.name)
        for name in (name for name in formats if name in writers):
            place = folder / FOLDERS[name]
            writers[name](place, weights)
            found = check_saved(place, base.denoiser, digest, base.text_encoder)
            _compare(name, "UNet", found.effect, wanted.effect)
            _compare(name, "text encoder", found.text_effect, wanted.text_effect)
        failed = write_with_base(folder, base.folder, weights, draft.base, formats)
        return _publish(store, folder, _with_forms(draft, formats, failed))


def _with_forms(draft: ArtifactRecord, formats: Sequence[ArtifactFormat], failed: Failed) -> ArtifactRecord:
    made = [form for form in formats if form not in failed]
    return draft.model_copy(update={"formats": made, "skipped": {**draft.skipped, **failed}})


def _compare(form: str, network: str, found: float | None, wanted: float | None) -> None:
    if not math.isclose(found or 0.0, wanted or 0.0, rel_tol=SAME_EFFECT):
        raise ArtifactInvalid(f"Read from {form} files the adapter changes the {network} by {found}, not {wanted}.")


def write_pipeline_artifact(
    store: RunStore, tuned: Components, draft: ArtifactRecord, formats: Sequence[ArtifactFormat] = ("Pipeline",)
) -> ArtifactRef:
    """Write, check and publish a complete diffusers pipeline of the parts in ``tuned``, and graphs of it if asked.

    Raises:
        ArtifactInvalid: says what failed; nothing was published, and an older artifact stays.

    """
    with _workshop() as folder:
        place = folder / FOLDERS["Pipeline"]
        save_pipeline(place, tuned)
        check_pipeline(place, tuned)
        failed = write_beside_pipeline(folder, draft.base, formats)
        return _publish(store, folder, _with_forms(draft, formats, failed))


def verify_artifact(folder: Path) -> ArtifactRecord:
    """Return artifact.json once every file beside it is the one that it names.

    Raises:
        ArtifactInvalid: names the first file that is missing, changed or not listed.

    """
    path = folder / ARTIFACT_FILE
    try:
        record = ArtifactRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError as cause:
        raise ArtifactInvalid(f"{path} is missing: the artifact is not complete.", hint="Run the job again.") from cause
    except ValueError as cause:
        raise ArtifactInvalid(f"{path} is not an artifact's record: {cause}") from cause
    found = _files(folder)
    for name in sorted(record.files.keys() | found.keys()):
        if name not in found:
            raise ArtifactInvalid(f"{folder / name} is missing.", hint="Copy the artifact again.")
        if name not in record.files:
            raise ArtifactInvalid(f"{folder / name} does not belong to the artifact.", hint="Remove it.")
        if found[name] != record.files[name]:
            raise ArtifactInvalid(
                f"{folder / name} has changed: its sha256 is {found[name].sha256}, not {record.files[name].sha256}.",
                hint="Copy the artifact again, or export it anew.",
            )
    return record


def _writers(name: str) -> dict[ArtifactFormat, Writer]:
    return {
        "PEFT": save_peft,
        "Diffusers": save_diffusers,
        "Kohya": lambda place, weights: save_kohya(place / KOHYA_FILE.format(name=name), weights),
    }


@contextmanager
def _workshop() -> Iterator[Path]:
    with writing(tempfile.gettempdir(), is_remote=False), tempfile.TemporaryDirectory(prefix="diptych-") as folder:
        yield Path(folder)


def _publish(store: RunStore, folder: Path, draft: ArtifactRecord) -> ArtifactRef:
    """Put the folder into the store as ``artifact/``; artifact.json comes last, so that where it is, all is."""
    record = draft.model_copy(update={"files": _files(folder)})
    store.remove(f"{ARTIFACT}/{ARTIFACT_FILE}")
    store.put_folder(folder, ARTIFACT)
    store.write_json(f"{ARTIFACT}/{ARTIFACT_FILE}", record)
    return _ref(store, record)


def artifact_ref(store: RunStore) -> ArtifactRef:
    """Return what a report says of the artifact that a run left. Raises ArtifactInvalid when there is none."""
    record = store.read_json(f"{ARTIFACT}/{ARTIFACT_FILE}", ArtifactRecord)
    if record is None:
        raise ArtifactInvalid(f"{store.uri()} has no artifact.", hint="Run the job first; it goes on where it ended.")
    return _ref(store, record)


def _ref(store: RunStore, record: ArtifactRecord) -> ArtifactRef:
    return ArtifactRef(
        uri=store.uri(ARTIFACT),
        digest=files_digest(record.files),
        size_bytes=files_size(record.files),
        trainable_parameters=record.trainable_parameters,
    )


def _files(folder: Path) -> dict[str, FileRecord]:
    """Return hash and size of every file below the folder but artifact.json."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    paths.pop(ARTIFACT_FILE, None)
    return {
        name: FileRecord(sha256=file_digest(path), bytes=path.stat().st_size) for name, path in sorted(paths.items())
    }
