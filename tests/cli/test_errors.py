"""Errors say what was wrong, where, and what to do; scripts get JSON and exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from diptych_api.errors import DiptychError, Interrupted, NaNLoss, RetryLater, UserError
from diptych_cli.command import EXIT_CODES, with_exit_code
from support.recorded_run import diptych

MISTAKES = """\
apiVersion: diptych.dev/v1alpha1
kind: FineTuneJob
metadata:
  name: noto-style
spec:
  base: {builtin: tiny-emoji}
  method: LoRA
  lora:
    rank: 0
  dataset:
    source:
      uri: pictures
    layuot: ImageFolder
"""


@pytest.mark.parametrize("command", ["validate", "run"])
def test_mistakes_in_the_yaml_are_told_with_their_lines(place: Path, command: str) -> None:
    Path("wrong.yaml").write_text(MISTAKES)
    ended = diptych(command, "wrong.yaml")
    first, second, count = ended.stderr.splitlines()
    assert first.startswith("wrong.yaml:9  spec.lora.rank: 0 is below 1.")
    assert second == "wrong.yaml:13 spec.dataset.layuot: unknown field. Did you mean layout?"
    assert count == "2 problems, nothing started."
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert not (place / "runs").exists()


def test_a_script_gets_the_mistakes_as_json_and_exit_code_2(place: Path) -> None:
    Path("wrong.yaml").write_text(MISTAKES)
    program = Path(sys.executable).with_name("diptych")
    ended = subprocess.run(
        [program, "validate", "wrong.yaml", "--json"], capture_output=True, text=True, check=False, cwd=place
    )
    error = json.loads(ended.stderr)["error"]
    assert ended.returncode == 2
    assert error["reason"] == "SpecInvalid"
    assert [(p["line"], p["field"]) for p in error["problems"]] == [(9, "spec.lora.rank"), (13, "spec.dataset.layuot")]


def test_a_bug_shows_its_traceback_to_people_and_json_to_scripts() -> None:
    app = typer.Typer()

    @with_exit_code
    def fail(*, as_json: bool = False) -> None:
        raise KeyError(str(as_json))

    app.command()(fail)
    for_people, for_scripts = CliRunner().invoke(app, []), CliRunner().invoke(app, ["--as-json"])
    assert isinstance(for_people.exception, KeyError)
    assert for_scripts.exit_code == 1
    assert json.loads(for_scripts.stderr)["error"]["message"] == "KeyError: 'True'"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("No such run.", hint="List them."), 2),
        (NaNLoss("The loss became nan.", hint="Lower the rate."), 1),
        (RetryLater("The hub is down.", hint="Wait."), 75),
        (Interrupted("Stopped.", hint="next: diptych run job.yaml"), 130),
    ],
)
def test_each_kind_of_error_has_its_exit_code_and_words(error: DiptychError, code: int) -> None:
    app = typer.Typer()

    @with_exit_code
    def fail(*, as_json: bool = False) -> None:
        assert as_json in {True, False}
        raise error

    app.command()(fail)
    for_people, for_scripts = CliRunner().invoke(app, []), CliRunner().invoke(app, ["--as-json"])
    assert code in EXIT_CODES
    assert (for_people.exit_code, for_scripts.exit_code) == (code, code)
    assert error.message in for_people.stderr
    assert error.hint in for_people.stderr.splitlines()[-1]
    told = {"reason": type(error).__name__, "message": error.message, "hint": error.hint}
    assert json.loads(for_scripts.stderr) == {"error": told}
