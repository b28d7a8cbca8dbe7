"""The artifact of a run on this machine, every file checked against its hash before it is used."""

import hashlib
from pathlib import Path

from pydantic import ValidationError

from diptych_api.artifact import FOLDERS, ArtifactFormat, ArtifactRecord
from diptych_api.errors import ArtifactInvalid, UserError
from diptych_api.runstore import ARTIFACT, ARTIFACT_FILE
from diptych_cli.runs import shown
from diptych_training.run_store import RunStore

HINT = "Do not use it. Run the job again: it goes on from the last checkpoint and writes the artifact anew."


def fetch_artifact(store: RunStore) -> tuple[Path, ArtifactRecord]:
    """Return the folder and the record of a run's artifact, all of whose files are as they were written.

    Raises:
        UserError: when the run has none yet.
        ArtifactInvalid: names the file that is missing or differs.

    """
    if not store.exists(f"{ARTIFACT}/{ARTIFACT_FILE}"):
        raise UserError(f"{shown(store.uri())} has no artifact yet.", hint=f"See diptych status {shown(store.uri())}")
    folder = store.get_folder(ARTIFACT)
    return folder, verified(folder)


def verified(folder: Path) -> ArtifactRecord:
    """Return the record of an artifact folder after a check of every file. Raises ArtifactInvalid."""
    try:
        record = ArtifactRecord.model_validate_json((folder / ARTIFACT_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise ArtifactInvalid(f"{folder / ARTIFACT_FILE} cannot be read: {error}", hint=HINT) from error
    root = folder.resolve()
    for name, expected in record.files.items():
        file = (root / name).resolve()
        if not file.is_relative_to(root) or not file.is_file():
            raise ArtifactInvalid(f"{folder / name} is missing.", hint=HINT)
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if file.stat().st_size != expected.bytes or found != expected.sha256:
            raise ArtifactInvalid(f"{folder / name} is not what the run wrote: its hash differs.", hint=HINT)
    return record


def form_folder(folder: Path, form: ArtifactFormat) -> Path:
    """Return the folder of one form of an artifact."""
    return folder / FOLDERS[form]
