"""The model card: what it is, how to use it, how good it is, where it comes from."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from diptych_api.artifact import ArtifactRecord, files_digest
from diptych_api.evaluation_report import EvaluationReport, MetricResult
from diptych_api.runstore import RunRecord

HUB: Final = "huggingFace:"
CREDITS: Final = {
    "builtin:tiny-emoji": "The base draws after Twemoji, copyright Twitter, Inc and other contributors, CC-BY 4.0.",
}
"""What bases that come along ask to be said."""
VERDICTS: Final = {"Better": "better than", "Worse": "worse than", "NotSure": "not surely better than"}


def card(
    record: RunRecord, artifact: ArtifactRecord, report: EvaluationReport | None, data: Mapping[str, Any] | None = None
) -> str:
    """Return README.md. Its words are data of the run: the same run gives the same card.

    ``data`` is preparation.json, which has what the source of the pictures tells of licence and credits.
    """
    head = yaml.safe_dump(_head(artifact), sort_keys=False, allow_unicode=True)
    parts = [f"---\n{head}---", f"# {artifact.name}", _lead(artifact, report)]
    if report is not None and report.pairs:
        parts.append("![The same prompts and seeds by base and tuned](evaluation/compare.png)")
    parts.append("## Use\n" + _use(artifact))
    if report is not None and report.metrics:
        parts.append("## Measured\n" + "\n".join(_table(report)))
    parts += [
        "## Made of\n" + "\n".join(_made_of(record, artifact)),
        "## Licence and credits\n" + _licence(artifact, data or {}),
    ]
    return "\n\n".join(parts) + "\n"


def _head(artifact: ArtifactRecord) -> dict[str, object]:
    facts: dict[str, object] = {"library_name": "diffusers", "pipeline_tag": "text-to-image"}
    if artifact.base.source.startswith(HUB):
        facts["base_model"] = artifact.base.source.removeprefix(HUB)
        facts["base_model_relation"] = "adapter" if artifact.method == "LoRA" else "finetune"
    tags = ["text-to-image", "stable-diffusion", "diptych", *(["lora"] if artifact.method == "LoRA" else [])]
    return {**facts, "license": "other", "license_name": "that-of-the-base-and-of-the-data", "tags": tags}


def _lead(artifact: ArtifactRecord, report: EvaluationReport | None) -> str:
    kind = f"A LoRA of rank {artifact.rank}" if artifact.method == "LoRA" else "A UNet, all of its weights trained,"
    kind = "A UNet trained from scratch" if artifact.method == "FromScratch" else kind
    told = f"{kind} on {_base(artifact)}, after {artifact.step:,} steps."
    if report is None or not report.metrics or report.base is None:
        return told
    return f"{told} By {report.metrics[0].name} it is {VERDICTS[report.verdict]} its base."


def _base(artifact: ArtifactRecord) -> str:
    name = artifact.base.source.removeprefix(HUB)
    at = f" at `{artifact.base.revision[:12]}`" if artifact.base.revision else ""
    return f"`{name}`{at}"


def _use(artifact: ArtifactRecord) -> str:
    source, here = artifact.base.source, "this repository or folder"
    base = source.removeprefix(HUB) if source.startswith(HUB) else "the base below"
    lines = ["from diffusers import StableDiffusionPipeline", ""]
    lines.append(f'pipeline = StableDiffusionPipeline.from_pretrained("{base if artifact.method == "LoRA" else here}")')
    lines += [f'pipeline.load_lora_weights("{here}")'] if artifact.method == "LoRA" else []
    return "\n".join(f"    {line}".rstrip() for line in lines)


def _table(report: EvaluationReport) -> Iterator[str]:
    yield f"{len(report.pairs)} prompts, seeds from {report.seed}, {report.scheduler}, {report.inference_steps} steps."
    yield ""
    yield "| metric | base | tuned | 95 % interval of the change | n |"
    yield "|---|---|---|---|---|"
    yield from (_row(metric) for metric in report.metrics)


def _row(metric: MetricResult) -> str:
    interval = "" if metric.interval is None else f"{metric.interval.low:+.3g} to {metric.interval.high:+.3g}"
    name = f"{metric.name} ({'lower' if metric.lower_is_better else 'higher'} is better)"
    return f"| {' | '.join((name, _figure(metric.base), _figure(metric.tuned), interval, str(metric.n)))} |"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _made_of(record: RunRecord, artifact: ArtifactRecord) -> Iterator[str]:
    yield f"- Base: {_base(artifact)}, weights `{artifact.base.digest}`"
    yield f"- Data set: `{artifact.dataset_digest or 'unknown'}`"
    yield f"- Artifact: `{files_digest(artifact.files)}`"
    yield f"- By: {', '.join(f'{name} {number}' for name, number in sorted(record.versions.items()))}"
    yield "- All of it in `provenance.json`; how it was measured in `evaluation/report.html`."


def _licence(artifact: ArtifactRecord, data: Mapping[str, Any]) -> str:
    own = CREDITS.get(artifact.base.source, f"The licence of {_base(artifact)} holds for what is derived from it.")
    told = [f"The source of the pictures names the licence `{data['licence']}`."] if data.get("licence") else []
    if names := data.get("credits"):
        told.append(f"Whose they are stands in its {', '.join(f'`{name}`' for name in names)}.")
    rest = "The licences of the pictures and captions hold, too: whoever publishes this says which they are."
    return " ".join([own, *told, rest])
