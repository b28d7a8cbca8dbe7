"""`diptych generate`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from diptych_cli.arguments import AsJson
from diptych_cli.command import examples
from diptych_diffusion.loading import loading

NAME = "generate"
EXAMPLES = examples(
    ('diptych generate "red apple" --run runs/local/noto-style-1a2b3c4d', "Draws with the adapter of a run."),
    ('diptych generate "red apple" --seed 7 -o base.png', "Draws with the base that comes with Diptych."),
    ('diptych generate "red apple" --adapter noto.safetensors --seed 7 -o tuned.png', "Same noise, with an adapter."),
    ('diptych generate "red apple" --server http://127.0.0.1:8000 --adapter noto', "On a server, with its adapter."),
    ('diptych generate "owl" --run job.yaml -n 4 --seed 100 -o owl.png', "owl-100.png to owl-103.png."),
)


class SchedulerName(StrEnum):
    """The samplers of diptych_api.after.Scheduler, here again so that `--help` need not import pydantic."""

    DDIM = "DDIM"
    PNDM = "PNDM"
    EULER = "Euler"
    EULER_ANCESTRAL = "EulerAncestral"
    DPM_SOLVER = "DPMSolverMultistep"
    LCM = "LCM"


def command(  # noqa: PLR0913 - one parameter for each option
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What the picture shows.", show_default=False)],
    *,
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Base, adapter and settings of a run: its folder or its YAML.")
    ] = None,
    adapter: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="A LoRA: PEFT folder, diffusers or kohya file; a name with --server."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="BASE", help="builtin:NAME or a pipeline's folder. \\[default: the run's, or builtin:tiny-emoji]"
        ),
    ] = None,
    negative: Annotated[str, typer.Option(metavar="PROMPT", help="What the picture should not show.")] = "",
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=2**53, help="Same seed, same noise. Drawn and printed when not given."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=1000, help="Sampling steps. \\[default: the run's, or 30]")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(metavar="X", min=0, max=30, help="Weight of the prompt. \\[default: the run's, or 7.5]"),
    ] = None,
    scheduler: Annotated[
        SchedulerName | None,
        typer.Option(
            metavar="NAME",
            case_sensitive=False,
            help=f"Sampler: {', '.join(SchedulerName)}. \\[default: the run's, or DDIM]",
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="PIXELS", help="Side, or WIDTHxHEIGHT. \\[default: the base's own]")
    ] = None,
    count: Annotated[
        int, typer.Option("-n", "--count", metavar="N", min=1, max=1000, help="Pictures, with seeds counting up.")
    ] = 1,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="PNG file. \\[default: the prompt and the seed]"),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Draw on a server, as diptych serve prints it; not on this machine."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw pictures from a prompt with a base, or with an adapter on it.

    Each PNG holds its prompt, seed, settings and the adapter's digest, so that it can be made again.
    """
    from diptych_cli.draw_request import DrawRequest  # noqa: PLC0415 - beside the others

    request = DrawRequest(
        prompt,
        run=run,
        adapter=adapter,
        base=base,
        negative=negative,
        seed=seed,
        steps=steps,
        guidance=guidance,
        scheduler=scheduler.value if scheduler else None,
        size=size,
        count=count,
        output=output,
        as_json=as_json,
    )
    if server is not None:
        from diptych_cli.asking import ask  # noqa: PLC0415 - imports the HTTP client

        ask(request, server)
        return
    with loading():
        from diptych_cli.drawing import draw  # noqa: PLC0415 - imports torch

    draw(request)
