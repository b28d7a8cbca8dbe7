"""`diptych publish`."""

from typing import Annotated

import typer

from diptych_cli.arguments import Overrides
from diptych_cli.command import examples

NAME = "publish"
EXAMPLES = examples(
    ("diptych publish runs/local/noto-style-1a2b3c4d --dry-run", "Says what would be sent, and sends nothing."),
    (
        "diptych publish runs/local/noto-style-1a2b3c4d --set publish.huggingFaceRepo=me/noto-style",
        "A model repository on the hub, private unless publish.private=false.",
    ),
    (
        "diptych publish runs/local/noto-style-1a2b3c4d --set publish.uri=oci://ghcr.io/me/noto-style:v1",
        "An artifact in a registry, for oras pull.",
    ),
)


def command(
    target: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or the YAML it was started from.")],
    overrides: Overrides = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent; send nothing.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Publish a run that its gates did not promote.")] = False,
) -> None:
    """Publish a finished run: to the Hugging Face hub, a folder, an object store or an OCI registry."""
    from diptych_cli.publishing import publish_run  # noqa: PLC0415 - imports pydantic's models and fsspec

    publish_run(target, overrides or [], dry_run=dry_run, anyway=anyway)
