"""`diptych export`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from diptych_cli.arguments import AsJson, Overrides, Target
from diptych_cli.command import examples

NAME = "export"
EXAMPLES = examples(
    ("diptych export job.yaml --format kohya -o noto.safetensors", "One file for ComfyUI, A1111 and their kin."),
    ("diptych export runs/local/noto-style-1a2b3c4d --format diffusers -o noto", "For load_lora_weights of diffusers."),
    ("diptych export noto.safetensors --format peft -o noto-peft", "Converts an adapter that came from elsewhere."),
    ("diptych export job.yaml --format pipeline -o noto-whole", "The whole model for diffusers, adapter merged."),
    ("diptych export job.yaml --format onnx -o noto-onnx", "The whole model for ONNX Runtime, adapter merged."),
)


class FormatName(StrEnum):
    """Forms that an artifact can leave in."""

    PEFT = "peft"
    DIFFUSERS = "diffusers"
    KOHYA = "kohya"
    PIPELINE = "pipeline"
    ONNX = "onnx"


def command(  # noqa: PLR0913 - one parameter for each option
    target: Target,
    overrides: Overrides = None,
    *,
    form: Annotated[
        FormatName,
        typer.Option(
            "--format",
            metavar="FORM",
            help="peft or diffusers (a folder), kohya (one file), pipeline or onnx (a whole model).",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="PATH", help="File or folder that is written.")],
    base: Annotated[
        str | None,
        typer.Option(
            metavar="BASE",
            help="For pipeline and onnx: the adapter's base. \\[default: the run's, or builtin:tiny-emoji]",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy or convert a run's artifact, every file checked against its hash first.

    In place of a run, an adapter's file or folder can be given.
    """
    from diptych_cli.exporting import ExportRequest, export  # noqa: PLC0415 - imports pydantic's models

    export(ExportRequest(target, tuple(overrides or ()), form.value, output, base, force=force, as_json=as_json))
