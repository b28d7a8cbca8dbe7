"""`diptych status` and `diptych logs` read the run store."""

import json
import os
import subprocess
import sys
from pathlib import Path

from diptych_api.report import Failure
from diptych_training.reporter import Reporter
from diptych_training.run_store import RunStore
from support.recorded_run import diptych, recorded, report


def test_status_finds_the_run_of_a_yaml_and_says_that_nobody_works_on_it(begun: RunStore) -> None:
    shown = diptych("status", "job.yaml").stdout
    assert "214/300 · loss 0.113 · val 0.131 (was 0.187)" in shown
    assert f"folder: runs/local/{begun.name}" in shown
    assert "state:  Training (stopped)" in shown
    assert f"saved:  step 200, runs/local/{begun.name}/checkpoints/step-000200" in shown
    assert "goes on from the last checkpoint" in shown


def test_status_knows_a_run_that_a_process_works_on(begun: RunStore) -> None:
    with begun.lock():
        told = json.loads(diptych("status", f"runs/local/{begun.name}", "--json").stdout)
    assert (told["running"], told["report"]["step"], told["report"]["firstValLoss"]) == (True, 214, 0.187)
    assert told["folder"] == f"runs/local/{begun.name}"


def test_status_says_why_a_run_failed_and_what_to_do(begun: RunStore) -> None:
    failure = Failure(reason="NaNLoss", message="The loss became nan at step 9.", hint="Lower the learning rate.")
    begun.write_json("status.json", report("Failed", step=9, failure=failure))
    shown = diptych("status", "job.yaml").stdout
    assert "reason: NaNLoss: The loss became nan at step 9." in shown
    assert "hint:   Lower the learning rate." in shown


def test_status_shows_the_figures_of_a_run_that_succeeded(begun: RunStore) -> None:
    begun.write_json("status.json", list(recorded())[-1])
    assert "style distance" in diptych("status", "job.yaml").stdout


def test_without_a_run_status_lists_them_all(begun: RunStore) -> None:
    begun.write_bytes("run.json", b"{}")
    shown = diptych("status").stdout.splitlines()
    assert shown[0].split() == ["RUN", "PHASE", "STEP", "LOSS", "VAL", "WAS", "AGE"]
    assert shown[1].split()[:6] == [begun.name, "Training", "(stopped)", "214/300", "0.113", "0.131"]
    assert [run["run"] for run in json.loads(diptych("status", "--json").stdout)["runs"]] == [begun.name]


def test_an_empty_place_says_how_to_begin(place: Path) -> None:
    assert diptych("status").stdout == "No runs below runs.\nnext: diptych run JOB.yaml\n"


def test_a_run_that_does_not_exist_is_an_error_of_the_user(place: Path) -> None:
    ended = diptych("status", "job.yaml")
    assert ended.exit_code == 2
    assert "There is no run in runs/local/noto-style-" in ended.stderr
    assert "diptych run job.yaml" in ended.stderr


def test_logs_print_each_step(begun: RunStore) -> None:
    begun.append("metrics.jsonl", '{"step": 214, "val_loss": 0.131}')
    assert diptych("logs", "job.yaml").stdout.splitlines() == [
        "step    213  loss 0.120  gradient 0.500  rate 0.000100",
        "step    214  loss 0.113  gradient 0.400  rate 0.000100",
        "step    214  val 0.131",
    ]


def test_logs_put_phases_before_the_steps_that_follow_them(begun: RunStore) -> None:
    begun.append("log.jsonl", report("Preparing", pictures=240).model_dump_json(by_alias=True))
    begun.append("log.jsonl", report("Caching", total=240).model_dump_json(by_alias=True))
    begun.append("log.jsonl", report("Evaluating", 9, step=300, total=40).model_dump_json(by_alias=True))
    said = [line.split()[0] for line in diptych("logs", "job.yaml").stdout.splitlines()]
    assert said == [begun.name, "prepare", "cache", "step", "step", "cache", "evaluate"]


def test_logs_tell_again_what_the_run_told(begun: RunStore) -> None:
    reporter = Reporter(lambda _: None, begun)
    reporter.phase("Preparing")
    reporter.update(pictures=240, bad_pictures=2)
    reporter.phase("Caching", "Starting Ray.")
    reporter.on_progress(240, 240)
    reporter.update(phase="Training", total_steps=300)
    reporter.update(step=213, message="A worker was lost.")
    assert diptych("logs", "job.yaml").stdout.splitlines()[1:] == [
        "prepare ✓ 240 pictures, 2 bad",
        "Starting Ray.",
        "cache 240 of 240",
        "cache ✓ 240",
        "train 0/300",
        "step    213  loss 0.120  gradient 0.500  rate 0.000100",
        "A worker was lost.",
        "step    214  loss 0.113  gradient 0.400  rate 0.000100",
    ]


def test_logs_as_json_are_the_lines_of_the_store(begun: RunStore) -> None:
    rows = [json.loads(line) for line in diptych("logs", "job.yaml", "--json").stdout.splitlines()]
    assert [row["step"] for row in rows] == [213, 214]


def test_a_damaged_log_is_named(begun: RunStore) -> None:
    begun.append("metrics.jsonl", "not json")
    ended = diptych("logs", "job.yaml")
    assert ended.exit_code == 1
    assert "metrics.jsonl holds a line without figures: not json" in ended.stderr


def test_following_goes_on_until_the_run_ends(begun: RunStore) -> None:
    begun.write_bytes(".lock", f"{os.getpid()}\n".encode())
    command = [str(Path(sys.executable).with_name("diptych")), "logs", "job.yaml", "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        seen = [program.stdout.readline() for _ in range(2)]
        begun.append("metrics.jsonl", '{"step": 215, "loss": 0.1}')
        seen.append(program.stdout.readline())
        begun.write_json("status.json", list(recorded())[-1])
        rest, _ = program.communicate(timeout=60)
    assert [line.split()[1] for line in seen] == ["213", "214", "215"]
    assert (program.returncode, rest) == (0, "")
