"""`diptych animate`."""

from pathlib import Path
from typing import Annotated

import typer

from diptych_cli.arguments import AsJson
from diptych_cli.command import examples
from diptych_diffusion.loading import loading

NAME = "animate"
EXAMPLES = examples(
    ("diptych animate galaxy.png --model stable-video-diffusion", "galaxy.webp, 24 frames of 12 seconds."),
    ("diptych animate galaxy.png --model svd --frames 14 --fps 7 -o galaxy.gif", "Two seconds, as a GIF."),
)


def command(  # noqa: PLR0913 - one parameter for each option
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="The first frame.", show_default=False)],
    *,
    model: Annotated[Path, typer.Option(metavar="FOLDER", help="A StableVideoDiffusionPipeline.", show_default=False)],
    frames: Annotated[int, typer.Option(metavar="N", min=2, max=256, help="Frames that are drawn.")] = 24,
    fps: Annotated[int, typer.Option(metavar="N", min=1, max=50, help="Frames a second.")] = 2,
    motion: Annotated[int, typer.Option(metavar="N", min=1, max=255, help="How much moves.")] = 150,
    noise: Annotated[float, typer.Option(metavar="X", min=0, max=1, help="Freedom from the picture.")] = 0.03,
    short_side: Annotated[int, typer.Option(metavar="PIXELS", min=8, max=2048, help="The shorter side.")] = 576,
    steps: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Sampling steps.")] = 25,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=2**53, help="Same seed, same noise. Drawn and printed when not given."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help=".webp, .gif or .png. \\[default: the picture's, .webp]"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a picture move by Stable Video Diffusion, from a folder on this machine.

    The file holds model, seed and settings, so that it can be made again.
    """
    with loading():
        from diptych_cli.animating import AnimateRequest, animate  # noqa: PLC0415 - imports torch
        from diptych_diffusion.video import Motion  # noqa: PLC0415 - as above

    how = Motion(frames, fps, motion, noise, short_side, steps)
    animate(
        AnimateRequest(picture, model, how, seed, output or picture.with_suffix(".webp"), force=force, as_json=as_json)
    )
