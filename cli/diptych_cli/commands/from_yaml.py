"""`diptych job from-yaml`."""

from pathlib import Path
from typing import Annotated

import typer

from diptych_cli.arguments import Overrides
from diptych_cli.command import examples

NAME = "from-yaml"
EXAMPLES = examples(
    ("diptych job from-yaml sft_sd15.yaml", "Prints the FineTuneJob that Astro-Diffusion's training file describes."),
    ("diptych job from-yaml params.yaml -o flowers.yaml", "Writes that of Text-To-Image-Diffusion's parameters."),
    (
        "diptych job from-yaml params.yaml --set unet.crossAttentionDim=768 -o flowers.yaml",
        "With a field changed, or one that the file cannot know.",
    ),
)


def command(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="The other system's file.", show_default=False)],
    overrides: Overrides = None,
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="JOB.yaml", help="File that is written. \\[default: shown]")
    ] = None,
) -> None:
    """Make a FineTuneJob from the training file of another system.

    Known are Astro-Diffusion's sft_sd15.yaml and Text-To-Image-Diffusion's params.yaml. Keys that these do not have are
    refused; what has no counterpart is told in comments at the top. Passwords and tokens are never copied.
    """
    from diptych_cli.importing import import_job  # noqa: PLC0415 - imports pydantic's models

    import_job(source, overrides or [], output)
