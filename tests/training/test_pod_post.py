"""Reports travel from a thread of their own: the newest wins, failures are tried again, nothing waits for them."""

import io
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from diptych_api.report import Report
from diptych_training.api_server import ApiServer
from diptych_training.pod import Printed
from diptych_training.report_post import ReportPost
from support.patch_server import listening, write_account
from support.recorded_run import report
from support.waiting import until

HOUR_S = 3600.0


@dataclass
class Server:
    """Keeps what arrives; refuses while ``down`` is set; answers only while ``open`` is set."""

    arrived: list[Report] = field(default_factory=list)
    tries: int = 0
    down: bool = False
    open: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Begin open."""
        self.open.set()

    def send(self, said: Report) -> None:
        self.tries += 1
        self.open.wait()
        if self.down:
            raise ConnectionError("no route")
        self.arrived.append(said)

    def has(self, count: int) -> Callable[[], bool]:
        return lambda: len(self.arrived) == count


def test_progress_waits_its_time_and_a_new_phase_does_not() -> None:
    server = Server()
    with ReportPost(server.send, print, every_s=HOUR_S) as post:
        post.tell(report("Training", step=1))
        until(server.has(1))
        post.tell(report("Training", step=2))
        post.tell(report("Training", step=3))
        assert server.tries == 1
        post.tell(report("Evaluating", step=3))
        until(server.has(2))
    assert [(said.phase, said.step) for said in server.arrived] == [("Training", 1), ("Evaluating", 3)]


def test_progress_is_sent_every_few_seconds() -> None:
    server = Server()
    with ReportPost(server.send, print, every_s=0.05) as post:
        for step in (1, 2, 3):
            post.tell(report("Training", step=step))
            until(server.has(step))


def test_the_newest_wins_while_the_server_is_slow() -> None:
    server = Server()
    server.open.clear()
    with ReportPost(server.send, print, every_s=0.01) as post:
        post.tell(report("Training", step=1))
        until(lambda: server.tries == 1)
        for step in range(2, 50):
            post.tell(report("Training", step=step))
        server.open.set()
    assert [said.step for said in server.arrived] == [1, 49]


def test_a_failed_report_is_told_once_and_tried_until_it_arrives() -> None:
    server, told = Server(down=True), list[str]()
    with ReportPost(server.send, told.append, every_s=HOUR_S, first_pause_s=0.01) as post:
        post.tell(report("Training", step=1))
        until(lambda: server.tries >= 3)
        server.down = False
        until(server.has(1))
        until(lambda: len(told) == 2)
    assert "no route" in told[0]
    assert told[1] == "Reports arrive again."


def test_the_last_report_is_sent_on_the_way_out() -> None:
    server = Server()
    with ReportPost(server.send, print, every_s=HOUR_S) as post:
        post.tell(report("Training", step=1))
        until(server.has(1))
        post.tell(report("Training", step=2))
    assert [said.step for said in server.arrived] == [1, 2]


def test_a_server_that_hangs_holds_nobody_and_the_loss_is_told() -> None:
    server, told = Server(), list[str]()
    server.open.clear()
    with ReportPost(server.send, told.append, patience_s=0.1) as post:
        post.tell(report("Succeeded"))
    assert told == ["The last report (Succeeded) did not arrive within 0.1 s."]
    server.open.set()


def test_a_server_that_is_down_to_the_end_costs_a_bounded_time() -> None:
    server, told = Server(down=True), list[str]()
    with ReportPost(server.send, told.append, patience_s=0.3, first_pause_s=0.01) as post:
        post.tell(report("Training", step=1))
        post.tell(report("Succeeded"))
    assert told[-1] == "The last report (Succeeded) did not arrive within 0.3 s."


def test_the_token_is_read_anew_for_every_report_and_refusals_are_tried_again(tmp_path: Path) -> None:
    account, told = write_account(tmp_path / "account"), list[str]()
    with listening() as server:
        server.accepts = "second"
        server.refusals += [503]
        api = ApiServer(server.url, account)

        def send(said: Report) -> None:
            api.apply("/report", {"spec": {"step": said.step}}, "diptych-report")

        with ReportPost(send, told.append, first_pause_s=0.01) as post:
            post.tell(report("Training", step=7))
            until(lambda: len(server.refused) >= 1)
            write_account(account, "second")
            until(lambda: len(server.patches) == 1)
    (patch,) = server.patches
    assert server.refused[0].headers["Authorization"] == "Bearer first"
    assert server.refused[-1].headers["Authorization"] == patch.headers["Authorization"] == "Bearer second"
    assert patch.headers["Content-Type"] == "application/apply-patch+yaml"
    assert patch.query == {"fieldManager": ["diptych-report"], "force": ["true"]}
    assert "answered 401: refused with 401" in told[0]


def test_a_log_that_cannot_be_written_any_more_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with io.FileIO(tmp_path / "log", "w") as kept, io.FileIO("/dev/full", "w") as full:
        printed = Printed({"/dev/full": full, "log": kept})
        printed(report("Preparing"))
        printed(report("Training", 9, step=1))
    assert [json.loads(line)["phase"] for line in (tmp_path / "log").read_text().splitlines()] == [
        "Preparing",
        "Training",
    ]
    assert capsys.readouterr().err == "/dev/full cannot be written any more: No space left on device.\n"
