"""The `diptych` command and its help."""

import os
from importlib.metadata import version
from typing import Annotated

import typer

from diptych_cli.command import EXIT_CODES, with_exit_code
from diptych_cli.commands import (
    animate,
    cancel,
    compare,
    data_pack,
    data_prepare,
    data_preview,
    evaluate,
    export,
    from_yaml,
    generate,
    get,
    logs,
    promote,
    publish,
    resume,
    run,
    serve,
    status,
    suspend,
    track,
    validate,
    wait,
)

EPILOG = "\n\n".join(["[bold]Exit codes[/]", *(f"{code:>4}  {meaning}" for code, meaning in EXIT_CODES.items())])
FIRST_STEPS = "[bold]Start here[/]: diptych validate JOB.yaml, then diptych run JOB.yaml."

app = typer.Typer(
    name="diptych",
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog=f"{FIRST_STEPS}\n\n{EPILOG}",
    pretty_exceptions_show_locals=False,
)
COMMANDS = (
    *(validate, run, status, logs, wait, suspend, resume, cancel),
    *(track, evaluate, generate, animate, export, serve, compare),
    *(get, promote, publish),
)
for module in COMMANDS:
    app.command(module.NAME, epilog=module.EXAMPLES)(with_exit_code(module.command))
job = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Make jobs.")
job.command(from_yaml.NAME, epilog=from_yaml.EXAMPLES)(with_exit_code(from_yaml.command))
app.add_typer(job, name="job")
data = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Prepare data sets, and look at them.")
for module in (data_prepare, data_preview, data_pack):
    data.command(module.NAME, epilog=module.EXAMPLES)(with_exit_code(module.command))
app.add_typer(data, name="data")


def _tell_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(f"diptych {version('diptych')}")
        raise typer.Exit


@app.callback()
def main(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Fine-tune text-to-image diffusion models on your pictures, then see base and tuned side by side."""
    # Otherwise transformers greets every command with notes about torchvision, which we do not use.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
