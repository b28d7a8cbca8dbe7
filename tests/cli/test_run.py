"""`diptych run` around the training program: progress, signals, what to do next. Training itself: tests/training."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from diptych_api.errors import Interrupted, SpecInvalid
from diptych_api.finetunejob import FineTuneJob
from diptych_api.report import Report
from diptych_cli.running import RunRequest, train
from support.recorded_run import recorded

OnReport = Callable[[Report], None]


def replay(job: FineTuneJob, request: RunRequest, on_report: OnReport, stop: threading.Event) -> str:
    """Tell the recorded reports and leave an evaluation, as training does."""
    folder = Path.cwd() / "runs" / job.metadata.name
    (folder / "evaluation" / "pictures").mkdir(parents=True)
    (folder / "evaluation" / "compare.png").write_bytes(b"picture")
    (folder / "evaluation" / "report.html").write_bytes(b"page")
    (folder / "evaluation" / "pictures" / "0.png").write_bytes(b"one")
    for told in recorded():
        on_report(told)
    return folder.as_uri()


def stopped(job: FineTuneJob, request: RunRequest, on_report: OnReport, stop: threading.Event) -> str:
    raise Interrupted("Stopped and saved at step 20.", hint="Run it again.")


def test_without_a_terminal_lines_tell_the_run_and_the_next_commands(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(RunRequest(Path("job.yaml")), replay)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "noto-style · LoRA r=8 on tiny-emoji · 1 CPU core"
    assert "train 300/300 · loss 0.100 · val 0.127 (was 0.187) · 31.2 img/s" in lines
    assert "train ✓ 300 steps" in lines
    assert "folder: runs/noto-style" in lines
    assert lines[-4:] == [
        "next: open runs/noto-style/evaluation/report.html",
        "      open runs/noto-style/evaluation/compare.png",
        '      diptych generate "red apple" --run runs/noto-style',
        "      diptych export runs/noto-style --format kohya -o noto-style.safetensors",
    ]


def test_json_is_one_report_a_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(RunRequest(Path("job.yaml"), as_json=True), replay)
    told = [Report.model_validate_json(line) for line in capsys.readouterr().out.splitlines()]
    assert told == list(recorded())


def test_quiet_prints_the_folder_alone(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(RunRequest(Path("job.yaml"), quiet=True), replay)
    assert capsys.readouterr().out == "runs/noto-style\n"


def test_quiet_and_json_exclude_each_other(place: Path) -> None:
    with pytest.raises(SpecInvalid, match="exclude each other"):
        train(RunRequest(Path("job.yaml"), quiet=True, as_json=True), replay)


def test_the_evidence_is_copied_where_it_was_asked_for(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(RunRequest(Path("job.yaml"), evidence=Path("demo")), replay)
    assert Path("demo/compare.png").read_bytes() == b"picture"
    assert Path("demo/pictures/0.png").read_bytes() == b"one"
    assert "open demo/compare.png" in capsys.readouterr().out


def test_an_interrupted_run_says_how_to_go_on(place: Path) -> None:
    request = RunRequest(Path("job.yaml"), ("training.steps=7", "output.uri=my runs"))
    with pytest.raises(Interrupted) as caught:
        train(request, stopped)
    assert caught.value.message == "Stopped and saved at step 20."
    assert "diptych run job.yaml --set training.steps=7 --set 'output.uri=my runs'" in caught.value.hint


WAITING = """\
import signal, sys
from pathlib import Path
from diptych_api.errors import Interrupted
from diptych_cli.command import with_exit_code
from diptych_cli.running import RunRequest, train
from support.recorded_run import report

def runner(job, request, on_report, stop):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as Ray does when it starts
    on_report(report("Training", step=1, total_steps=9))
    print("ready", flush=True)
    stop.wait()
    if sys.argv[1] == "hangs":
        print("asked", flush=True)
        signal.pause()
    raise Interrupted("Stopped and saved at step 1.")

try:
    with_exit_code(lambda: train(RunRequest(Path("job.yaml"), quiet=True), runner))()
except Exception as error:
    sys.exit(error.exit_code)
"""


def start(place: Path, how: str) -> "subprocess.Popen[str]":
    path = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
    command = [sys.executable, "-c", path + WAITING, how]
    return subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_in_order_even_after_ray_took_it(place: Path, number: signal.Signals) -> None:
    with start(place, "stops") as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(number)
        _, errors = program.communicate(timeout=60)
    assert program.returncode == 130
    assert "saving a checkpoint first" in errors
    assert "Stopped and saved at step 1.\nnext: diptych run job.yaml" in errors


def test_a_second_ctrl_c_does_not_wait(place: Path) -> None:
    with start(place, "hangs") as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGINT)
        assert program.stdout.readline() == "asked\n"
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=60)
    assert program.returncode == 130
