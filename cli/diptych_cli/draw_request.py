"""What `diptych generate` was asked for, wherever it is drawn."""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DrawRequest:
    """What `diptych generate` was asked for; None is the run's setting, or else the usual one."""

    prompt: str
    run: str | None = None
    adapter: Path | None = None
    base: str | None = None
    negative: str = ""
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    scheduler: str | None = None
    size: str | None = None
    count: int = 1
    output: Path | None = None
    as_json: bool = False
    server: str | None = None
    """URL of the server that draws; this machine does when None."""


def output_path(request: DrawRequest, seed: int) -> Path:
    """Return where a picture goes; several pictures have their seeds in their names."""
    if request.output is None:
        words = re.sub(r"[^a-z0-9]+", "-", request.prompt.lower()).strip("-")[:48] or "picture"
        return Path(f"{words}-{seed}.png")
    output = request.output if request.output.suffix else request.output.with_suffix(".png")
    return output if request.count == 1 else output.with_stem(f"{output.stem}-{seed}")
