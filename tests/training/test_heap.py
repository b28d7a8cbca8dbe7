"""What a step on a CPU frees stays with the process."""

import json
import subprocess
import sys

WATCHED = """
import json, resource
import torch
from diptych_training.heap import keep_pages

torch.set_num_threads(1)
weight = torch.randn(64, 64, 3, 3)

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def steps():
    for _ in range(5):
        x = torch.randn(8, 64, 32, 32, requires_grad=True)
        for _ in range(4):
            x = torch.nn.functional.silu(torch.nn.functional.conv2d(x, weight, padding=1))
        x.sum().backward()

told = []
for kept in (False, True):
    if kept and not keep_pages():
        raise SystemExit("this C library cannot")
    steps()
    before = faults()
    steps()
    told.append(faults() - before)
print(json.dumps(told))
"""


def test_steps_use_the_pages_of_the_steps_before() -> None:
    done = subprocess.run([sys.executable, "-c", WATCHED], capture_output=True, text=True, check=True)
    by_default, kept = json.loads(done.stdout)
    assert kept < max(100, by_default / 10)
