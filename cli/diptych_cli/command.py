"""How commands end: errors become a message, a hint and an exit code."""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from typing import Any, ParamSpec

import typer
from rich.markup import escape

from diptych_api.errors import DiptychError, Interrupted, SpecInvalid

P = ParamSpec("P")

EXIT_CODES = {
    0: "done",
    1: "the run failed; the last good state is kept",
    2: "something to change in the command, the YAML, the pictures or the model",
    75: "may pass by itself; try again later",
    130: "interrupted; the state is saved, the same command goes on",
}


def with_exit_code(command: Callable[P, None]) -> Callable[P, None]:
    """Return a command that tells errors on stderr, as JSON where `--json` is given, and exits with their code."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except DiptychError as error:
            tell = error_json if kwargs.get("as_json") else error_text
            typer.echo(tell(error), err=True)
            raise typer.Exit(error.exit_code) from error
        except Exception as error:
            if not kwargs.get("as_json"):
                raise
            typer.echo(bug_json(error), err=True)
            raise typer.Exit(1) from error

    return run


def bug_json(error: Exception) -> str:
    """Return an error that is nobody's but ours on one line."""
    hint = "This is a bug: please report it with the traceback, which comes without --json."
    told = {"reason": "InternalError", "message": f"{type(error).__name__}: {error}", "hint": hint}
    return json.dumps({"error": told}, ensure_ascii=False)


def error_json(error: DiptychError) -> str:
    """Return `{"error": {…}}` on one line, with every problem of a spec that is wrong."""
    told: dict[str, Any] = {"reason": error.reason, "message": error.message, "hint": error.hint}
    if isinstance(error, SpecInvalid) and error.problems:
        told["problems"] = [asdict(problem) for problem in error.problems]
    return json.dumps({"error": told}, ensure_ascii=False)


def error_text(error: DiptychError) -> str:
    """Return message and hint for people. Problems of a spec and requests to stop speak for themselves."""
    if isinstance(error, SpecInvalid) and error.problems:
        return error.message
    if isinstance(error, Interrupted):
        return "\n".join(filter(None, (error.message, error.hint)))
    red = typer.style("error:", fg="red", bold=True)
    return f"{red} {error.message}" + (f"\n{typer.style('hint: ', bold=True)} {error.hint}" if error.hint else "")


def examples(*pairs: tuple[str, str]) -> str:
    """Return the part of a help text that shows commands and what each does, in rich's markup."""
    shown = [f"[cyan]$ {escape(command)}[/]\n    {what}" for command, what in pairs]
    return "\n\n".join(["[bold]Examples[/]", *shown])
