"""What decides an evaluation's report, as one digest: where it is the same, the report that is there still answers."""

import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from diptych_api.evaluation_report import EvaluationReport
from diptych_api.runstore import EVALUATION, EVALUATION_FILE
from diptych_diffusion.fingerprint import file_digest, folder_digest
from diptych_training.promotion import rival_for
from diptych_training.run_store import RunStore
from diptych_training.share import Share
from diptych_training.suites import prompts_of


def inputs_digest(share: Share, artifact: str) -> str:
    """Return the digest over artifact, base, data set, settings, networks, prompts, rivals and who stands."""
    spec = share.spec
    told = {
        "artifact": artifact,
        "identity": dict(share.identity),
        "evaluation": spec.evaluation.model_dump(mode="json"),
        "image": spec.dataset.image.model_dump(mode="json"),
        "validation": spec.training.validation.model_dump(mode="json"),
        "promotion": None if spec.promotion is None else spec.promotion.model_dump(mode="json"),
        "files": dict(_files(share)),
        "rival": _rival(share),
        "version": version("diptych"),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def earlier_report(store: RunStore, key: str) -> EvaluationReport | None:
    """Return the report that is there, if it has these inputs and all its files."""
    report = store.read_json(f"{EVALUATION}/{EVALUATION_FILE}", EvaluationReport)
    if report is None or report.inputs != key:
        return None
    return report if all(store.exists(f"{EVALUATION}/{name}") for name in report.files) else None


def _files(share: Share) -> Iterator[tuple[str, str]]:
    """Yield what the files hold that the settings name."""
    settings = share.spec.evaluation
    for name, place in settings.extractors:
        weights = Path(str(place).removeprefix("file://")) / "model.safetensors"
        if place is not None and weights.is_file():
            yield name, file_digest(weights)
    if settings.rivals is not None:
        yield "rivals", folder_digest(Path(settings.rivals))
    if settings.suite is not None and not settings.prompts:
        yield "prompts", "\n".join(prompts_of(settings.suite))


def _rival(share: Share) -> str | None:
    promotion = share.spec.promotion
    rival = None if promotion is None else rival_for(share, promotion.model)
    return None if rival is None else rival.digest
