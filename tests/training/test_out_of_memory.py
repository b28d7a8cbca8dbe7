"""Memory that runs out: a real allocation on the CPU, PyTorch's own words for a GPU."""

from typing import Any

import pytest
import torch

from diptych_api.errors import GpuOutOfMemory, HostOutOfMemory
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_training.out_of_memory import advice, doing, memory_named

SAID = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.64 GiB of which 1.21 GiB is "
    "free. Including non-PyTorch memory, this process has 22.42 GiB memory in use. Of the allocated memory 21.9 GiB is "
    "allocated by PyTorch. If reserved but unallocated memory is large try setting "
    "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
)


def spec_of(**training: Any) -> FineTuneJobSpec:
    values = {"base": {"builtin": "tiny-emoji"}, "dataset": {"source": {"uri": "pictures"}}, "training": training}
    return FineTuneJobSpec.model_validate(values)


def test_an_allocation_that_the_machine_refuses_is_named() -> None:
    named = memory_named("encoding pictures", "Lower spec.dataset.image.size.")
    with pytest.raises(HostOutOfMemory, match="The machine's memory ran out while encoding pictures") as caught, named:
        torch.empty(2**50, dtype=torch.uint8)
    assert caught.value.hint == "Lower spec.dataset.image.size."


def test_a_gpu_that_is_full_is_named_with_its_figures_and_the_setting_that_would_fit() -> None:
    spec = spec_of(batchSize=8)
    with pytest.raises(GpuOutOfMemory) as caught, memory_named(doing(spec), advice(spec)):
        raise torch.OutOfMemoryError(SAID)
    assert str(caught.value) == (
        "The GPU's memory ran out while training on 8 pictures at once. Tried to allocate 2.00 GiB. GPU 0 has a total "
        "capacity of 23.64 GiB of which 1.21 GiB is free. Set spec.training.microBatchSize: 4; a step stays 8 pictures."
    )


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_named("training", ""):
        torch.ones(2, 3) @ torch.ones(2, 3)


@pytest.mark.parametrize(
    ("training", "setting"),
    [
        ({"batchSize": 4}, "microBatchSize: 2"),
        ({"batchSize": 4, "microBatchSize": 3}, "microBatchSize: 1"),
        ({"batchSize": 1}, "gradientCheckpointing: true"),
        ({"batchSize": 1, "gradientCheckpointing": True, "precision": "fp32"}, "precision: bf16"),
        ({"batchSize": 1, "gradientCheckpointing": True}, "image.size"),
    ],
)
def test_advice_begins_with_what_changes_nothing_else(training: dict[str, Any], setting: str) -> None:
    assert setting in advice(spec_of(**training))
