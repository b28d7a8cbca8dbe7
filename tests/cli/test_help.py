"""The help teaches, stays fast, and its surface changes only on purpose."""

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import typer
from typer.testing import CliRunner

from diptych_api.after import Scheduler
from diptych_cli.commands.generate import SchedulerName
from diptych_cli.main import app
from diptych_cli.reference import commands, reference

CLUSTER = ("namespace", "context", "kubeconfig")
OPTIONS = {
    "validate": ["job", "overrides", "deep", "as_json"],
    "run": ["job", "overrides", "address", "evidence", "quiet", "as_json"],
    "status": ["target", "overrides", "output", "as_json"],
    "logs": ["target", "overrides", "follow", "pod", *CLUSTER, "as_json"],
    "wait": ["target", "overrides", "goal", "timeout", *CLUSTER],
    "suspend": ["target", "overrides", *CLUSTER],
    "resume": ["target", "overrides", *CLUSTER],
    "cancel": ["target", "overrides", *CLUSTER],
    "eval": ["target", "overrides", "as_json"],
    "generate": [
        *("prompt", "run", "adapter", "base", "negative", "seed", "steps", "guidance", "scheduler", "size", "count"),
        *("output", "server", "as_json"),
    ],
    "animate": [
        *("picture", "model", "frames", "fps", "motion", "noise", "short_side", "steps", "seed", "output"),
        *("force", "as_json"),
    ],
    "track": ["target", "overrides"],
    "publish": ["target", "overrides", "dry_run", "anyway"],
    "export": ["target", "overrides", "form", "output", "base", "force", "as_json"],
    "serve": ["deployment", "overrides", "runs", "host", "address"],
    "compare": [
        *("prompt", "server", "arms", "negative", "template", "seed", "steps", "guidance", "scheduler", "size"),
        *("output", "as_json"),
    ],
    "get": ["kind", "name", "everywhere", "wide", *CLUSTER, "as_json"],
    "data prepare": ["job", "overrides", "as_json"],
    "data pack": ["job", "overrides", "to", "as_json"],
    "data preview": ["target", "overrides", "pictures", "output"],
    "job from-yaml": ["source", "overrides", "output"],
    "promote": ["model", "run", "rollback", "unpin", "output", *CLUSTER],
}
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("command", OPTIONS)
def test_every_help_shows_a_command_to_copy(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"]).output
    assert "Examples" in shown
    assert f"$ diptych {command}" in shown or f"$(diptych {command}" in shown


def test_commands_and_options_are_those_that_were_agreed() -> None:
    found = {name: [p.name for p in command.params] for name, command in commands(typer.main.get_command(app))}
    assert found == OPTIONS


def test_help_names_every_exit_code() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    assert [line.split()[0] for line in shown.splitlines() if line.strip()[:1].isdigit()] == [
        "0",
        "1",
        "2",
        "75",
        "130",
    ]


def test_the_reference_page_is_that_of_this_program() -> None:
    assert (ROOT / "docs/reference/cli.md").read_text() == reference(), "run: make docs"


def test_samplers_are_those_of_the_spec() -> None:
    assert [name.value for name in SchedulerName] == list(get_args(Scheduler))


def test_help_imports_neither_models_nor_torch_nor_ray() -> None:
    program = (
        "import json, sys\nfrom diptych_cli.main import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(json.loads(ended.stdout.splitlines()[-1]))
    heavy = {"torch", "ray", "diffusers", "transformers", "numpy", "fsspec", "pydantic", "kubernetes", "urllib3"}
    assert not loaded & {*heavy, "diptych_training", "diptych_operator"}


def test_the_shell_can_complete_commands() -> None:
    program = Path(sys.executable).with_name("diptych")
    environment = {"_DIPTYCH_COMPLETE": "complete_bash", "COMP_WORDS": "diptych va", "COMP_CWORD": "1"}
    ended = subprocess.run([program], env=environment, capture_output=True, text=True, check=False)
    assert ended.stdout.split() == ["validate"]


def test_work_that_needs_no_torch_loads_none() -> None:
    works = ["validating", "running", "serving", "comparing", "run_status", "run_log", "run_stop", "run_wait"]
    works += ["evaluating", "promoting", "cluster_get", "cluster_log", "cluster_changes", "cluster_wait"]
    program = (
        f"import sys, importlib\nheavy = ('torch', 'ray', 'diffusers', 'transformers')\nfor work in {works}:\n"
        "    importlib.import_module(f'diptych_cli.{work}')\n"
        "    print(*(f'{work}: {name}' for name in heavy if name in sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []
