"""`diptych compare`."""

from pathlib import Path
from typing import Annotated

import typer

from diptych_cli.arguments import AsJson
from diptych_cli.command import examples
from diptych_cli.commands.generate import SchedulerName

NAME = "compare"
EXAMPLES = examples(
    ('diptych compare "red apple"', "Base and every adapter of the server on this machine, side by side."),
    (
        'diptych compare "red apple" --seed 7 --arms base,noto,noto:0.5 -o apple.png',
        "The adapter at half strength too.",
    ),
    ('diptych compare "owl" --server http://noto.default:8000 --json', "What the server answered, without pictures."),
)


def command(  # noqa: PLR0913 - one parameter for each option
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What the pictures show.", show_default=False)],
    *,
    server: Annotated[
        str, typer.Option(metavar="URL", envvar="DIPTYCH_SERVER", help="A server, as diptych serve prints it.")
    ] = "http://127.0.0.1:8000",
    arms: Annotated[
        str | None,
        typer.Option(
            metavar="LIST", help="base, adapters, adapters:STRENGTH, with commas. \\[default: base and all adapters]"
        ),
    ] = None,
    negative: Annotated[str | None, typer.Option(metavar="PROMPT", help="What they should not show.")] = None,
    template: Annotated[str | None, typer.Option(metavar="NAME", help="A prompt template of the server.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=2**53, help="Same seed, same noise. Drawn and printed when not given."),
    ] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, max=1000, help="Sampling steps.")] = None,
    guidance: Annotated[float | None, typer.Option(metavar="X", min=0, max=30, help="Weight of the prompt.")] = None,
    scheduler: Annotated[
        SchedulerName | None,
        typer.Option(metavar="NAME", case_sensitive=False, help=f"Sampler: {', '.join(SchedulerName)}."),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="PIXELS", help="Side, or WIDTHxHEIGHT. \\[default: the base's own]")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="PNG of all sides. \\[default: the prompt and the seed]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw a prompt with base and adapters side by side, from the same noise, on a server.

    Settings that are not given are the server's. A server with API keys gets the one in DIPTYCH_API_KEY.
    """
    from diptych_cli.comparing import CompareRequest, compare  # noqa: PLC0415 - imports the HTTP client

    settings = {
        "negative_prompt": negative,
        "template": template,
        "seed": seed,
        "steps": steps,
        "guidance_scale": guidance,
        "scheduler": scheduler.value if scheduler else None,
    }
    compare(CompareRequest(prompt, server, arms=arms, size=size, settings=settings, output=output, as_json=as_json))
