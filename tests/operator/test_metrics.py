"""What Prometheus reads of jobs."""

import re
from typing import Any

from diptych_operator.kinds import DIFFUSION_DEPLOYMENT, FINE_TUNE_JOB, Ref
from diptych_operator.metrics import Metrics

NOTO = Ref(FINE_TUNE_JOB, "art", "noto")


def test_a_running_job_is_shown_with_what_it_tells_and_no_longer_once_it_has_ended() -> None:
    metrics = Metrics()
    progress: dict[str, Any] = {
        "step": 40,
        "loss": 0.25,
        "imagesPerSecond": 31.5,
        "parts": [{"name": "UNet", "seconds": 9.5}],
    }
    progress |= {"phases": [{"name": "Caching", "seconds": 2}, {"name": "Training", "seconds": 12}]}
    running = {"phase": "Running", "progress": progress}
    metrics.status(NOTO, {}, running)
    metrics.status(Ref(DIFFUSION_DEPLOYMENT, "art", "noto"), {}, {"phase": "Ready"})
    page = metrics.page().decode()
    assert 'diptych_job_step{name="noto",namespace="art"} 40.0' in page
    assert 'diptych_job_images_per_second{name="noto",namespace="art"} 31.5' in page
    assert "diptych_job_peak_gpu_memory_bytes{" not in page
    assert 'diptych_job_part_seconds{name="noto",namespace="art",part="UNet"} 9.5' in page
    assert 'diptych_job_phase_seconds{name="noto",namespace="art",phase="Training"} 12.0' in page
    metrics.status(NOTO, running, {**running, "phase": "Succeeded"})
    assert not re.search("diptych_job_[a-z_]+{", metrics.page().decode())
    metrics.status(NOTO, {}, running)
    metrics.forget(NOTO)
    assert not re.search("diptych_job_[a-z_]+{", metrics.page().decode())
