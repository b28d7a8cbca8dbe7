"""The wish to stop travels through the pod's folder: to the driver as a signal, to workers as a file."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

from diptych_training.__main__ import main
from diptych_training.letters import Progress, Standing
from diptych_training.station import Station, heeding, wait_until_heard
from support.waiting import until

PROGRESS = Progress(step=1, total_steps=2, epoch=0, standing=Standing(), images_per_second=None, eta_seconds=None)
DRIVER = """\
import signal, sys
from pathlib import Path
from diptych_training.station import Station

stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
with Station(Path(sys.argv[1])).manned("driver"):
    print("here", flush=True)
    while not stop:
        signal.pause()
"""
RAY = """\
import signal, sys
print("here", flush=True)
sys.stdin.readline()
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
signal.pause()
"""


def test_the_driver_hears_the_wish_and_is_waited_for(tmp_path: Path) -> None:
    station = Station(tmp_path / "station")
    command = [sys.executable, "-c", DRIVER, str(station.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "here\n"
        assert station.present() == {driver.pid: "driver"}
        station.ask()
        assert station.wait_until_empty(60)
    assert driver.returncode == 0


def test_a_worker_hears_the_wish_with_its_next_report(tmp_path: Path) -> None:
    station = Station(tmp_path / "station")
    told: list[Progress] = []

    def tell(progress: Progress) -> bool:
        told.append(progress)
        return False

    with heeding(tell, {"DIPTYCH_STATION": str(station.folder)}) as heard:
        assert not heard(PROGRESS)
        station.ask()
        assert heard(PROGRESS)
        assert not station.wait_until_empty(0)
    assert station.wait_until_empty(0)
    assert told == [PROGRESS, PROGRESS]


def test_the_hook_returns_when_the_last_one_is_gone(tmp_path: Path) -> None:
    station, emptied = Station(tmp_path / "station"), list[bool]()
    with station.manned("worker"):
        waiting = threading.Thread(target=lambda: emptied.append(station.wait_until_empty(60)))
        waiting.start()
        until(waiting.is_alive)
        assert emptied == []
    waiting.join()
    assert emptied == [True]


def test_the_mark_of_a_killed_process_counts_no_more(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        (tmp_path / f"worker-{process.pid}").touch()
        assert Station(tmp_path).present() == {process.pid: "worker"}
        process.send_signal(signal.SIGKILL)
    assert Station(tmp_path).present() == {}


def test_another_process_with_the_number_of_a_killed_one_is_not_taken_for_it(tmp_path: Path) -> None:
    with Station(tmp_path).manned("driver"):
        [mark] = tmp_path.glob("driver-*")
        assert Station(tmp_path).present() == {int(mark.name.removeprefix("driver-")): "driver"}
        mark.write_text("12345")
        assert Station(tmp_path).present() == {}


def test_the_hook_waits_for_a_ray_that_is_still_starting_and_would_not_hear() -> None:
    command, pipe = [sys.executable, "-c", RAY, "ray", "start", "--head"], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as ray:
        assert ray.stdin is not None
        assert ray.stdout is not None
        assert ray.stdout.readline() == "here\n"
        assert not wait_until_heard(0, ray.pid)
        ray.stdin.write("\n")
        ray.stdin.flush()
        assert wait_until_heard(60, ray.pid)
        ray.terminate()
    assert wait_until_heard(0, ray.pid)


def test_outside_of_a_pod_nobody_listens(tmp_path: Path) -> None:
    def tell(_: Progress) -> bool:
        return False

    with heeding(tell, {}) as heard:
        assert heard is tell
    assert main(["--stop"]) == 2
