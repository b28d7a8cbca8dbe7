"""A run that ended with an artifact and its evidence, ready to be published."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from diptych_api.artifact import ArtifactRecord, BaseRecord, FileRecord
from diptych_api.evaluation_report import EvaluationReport, Interval, MetricResult, PairResult
from diptych_training.run_store import RunStore
from support.tracking import past_run

AT = datetime(2026, 1, 31, tzinfo=UTC)
FILES = {
    "peft/adapter_model.safetensors": b"peft weights",
    "peft/adapter_config.json": b"{}",
    "diffusers/pytorch_lora_weights.safetensors": b"diffusers weights",
    "kohya/noto.safetensors": b"kohya weights",
}
NAMES = {
    *("README.md", "provenance.json", "artifact.json", "noto.safetensors", "pytorch_lora_weights.safetensors"),
    *("peft/adapter_model.safetensors", "peft/adapter_config.json"),
    *("evaluation/report.json", "evaluation/report.html", "evaluation/compare.png"),
}
"""What is published of it."""


def finished_run(folder: Path) -> RunStore:
    """Return a run of a base on the hub that finished."""
    store, _ = past_run(folder, uri="unused")
    store.remove("artifact")
    files = {name: FileRecord(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)) for name, data in FILES.items()}
    base = BaseRecord(source="huggingFace:owner/sd", revision="a" * 40, digest=f"sha256:{'b' * 64}")
    record = ArtifactRecord(
        name="noto",
        run=store.name,
        method="LoRA",
        rank=4,
        base=base,
        trainable_parameters=8,
        step=300,
        dataset_digest=f"sha256:{'c' * 64}",
        formats=["PEFT", "Diffusers", "Kohya"],
        files=files,
        created=AT,
    )
    for name, data in FILES.items():
        store.write_bytes(f"artifact/{name}", data)
    store.write_json("artifact/artifact.json", record)
    kid = MetricResult(name="KID", base=0.2, tuned=0.1, interval=Interval(low=-0.2, high=-0.05), n=40)
    report = EvaluationReport(
        run=store.name,
        base=base.digest,
        seed=7,
        inference_steps=20,
        guidance_scale=3,
        scheduler="DDIM",
        size=64,
        pairs=[PairResult(prompt="red apple", seed=7)],
        metrics=[kid],
        verdict="Better",
        time=AT,
    )
    store.write_json("evaluation/report.json", report)
    store.write_bytes("evaluation/compare.png", b"png")
    return store
