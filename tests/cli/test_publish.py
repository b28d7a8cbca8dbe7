"""`diptych publish`: what its gates turned down waits for a person's word."""

import json
from pathlib import Path

from support.recorded_run import diptych

PLACE = ("--set", "publish.uri=public", "--dry-run")


def test_a_run_that_was_turned_down_is_published_once_somebody_promotes_it(run: Path) -> None:
    status = run / "status.json"
    gate = {"outcome": "NotPromoted", "model": "noto", "reason": "It is worse."}
    status.write_text(json.dumps(json.loads(status.read_text()) | {"gate": gate}))
    refused = diptych("publish", run, *PLACE)
    assert refused.exit_code == 2
    assert "It is worse." in refused.stderr
    assert diptych("promote", "noto", run.name, "--output", "runs").exit_code == 0
    told = diptych("publish", run, *PLACE)
    assert told.exit_code == 0, told.stderr
    assert "Would send" in told.stdout
    assert not Path("public").exists()
