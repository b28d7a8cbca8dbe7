import os
import subprocess
import sys

import pytest
import torch

from diptych_diffusion.draws import noise, permutation, seed64, timestep, uniform

SCRIPT = (
    "from diptych_diffusion.draws import *; "
    "print(seed64(1, 'a'), timestep(1000, 1, 'a'), uniform(1, 'a'), permutation(5, 1, 'a'), "
    "noise((3,), 1, 'a').tolist())"
)


def test_draws_are_the_same_in_another_process_with_another_hash_seed() -> None:
    there = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout == (
        f"{seed64(1, 'a')} {timestep(1000, 1, 'a')} {uniform(1, 'a')} {permutation(5, 1, 'a')} "
        f"{noise((3,), 1, 'a').tolist()}\n"
    )


def test_draws_never_change_between_versions() -> None:
    """All but the noise were also made with hashlib and a Philox written out in plain Python."""
    assert seed64(42, 0, "cat.png", "noise") == 17118123045891705916
    assert seed64() == 8180073448483349959
    assert timestep(1000, 42, 0, "cat.png", "timestep") == 111
    assert uniform(42, 0, "cat.png", "caption") == 0.5787194171001879
    assert permutation(8, 42, 0, "order") == [2, 0, 4, 3, 1, 6, 7, 5]
    drawn = noise((2, 2), 42, 0, "cat.png", "noise").flatten().tolist()
    assert drawn == pytest.approx([0.8812770843505859, 0.7572956085205078, 0.9982004761695862, 0.2069825381040573])


@pytest.mark.parametrize(
    ("one", "other"), [((1,), ("1",)), (("a", "b"), ("ab",)), (("a", "b"), ('a","b',)), ((1, 2), (12,)), ((), ("",))]
)
def test_different_parts_give_different_seeds(one: tuple[str | int, ...], other: tuple[str | int, ...]) -> None:
    assert seed64(*one) != seed64(*other)


def test_kinds_of_draws_with_the_same_parts_are_unrelated() -> None:
    pairs = torch.tensor([[timestep(1000, i) / 1000, uniform(i), float(noise((1,), i))] for i in range(2000)])
    correlation = torch.corrcoef(pairs.T)
    assert (correlation - torch.eye(3)).abs().max() < 0.08


def test_noise_is_standard_normal_float32_and_depends_on_every_part() -> None:
    drawn = noise((4, 64, 64), 42, 0, "cat.png", "noise")
    assert drawn.dtype == torch.float32
    assert drawn.shape == (4, 64, 64)
    assert abs(float(drawn.mean())) < 0.03
    assert abs(float(drawn.std()) - 1) < 0.03
    assert torch.equal(drawn, noise((4, 64, 64), 42, 0, "cat.png", "noise"))
    for parts in ((43, 0, "cat.png", "noise"), (42, 1, "cat.png", "noise"), (42, 0, "dog.png", "noise")):
        assert abs(float((drawn * noise((4, 64, 64), *parts)).mean())) < 0.03


def test_timesteps_and_uniforms_cover_their_range_evenly() -> None:
    counts = torch.bincount(torch.tensor([timestep(10, 7, i) for i in range(5000)]), minlength=10)
    assert counts.shape == (10,)
    assert ((counts - 500).abs() < 100).all()
    drawn = torch.tensor([uniform(7, i) for i in range(5000)])
    assert 0 <= float(drawn.min()) < 0.01
    assert 0.99 < float(drawn.max()) < 1
    assert abs(float(drawn.mean()) - 0.5) < 0.02


def test_a_permutation_holds_every_index_once_and_differs_by_epoch() -> None:
    first, second = permutation(500, 42, 0), permutation(500, 42, 1)
    assert sorted(first) == list(range(500))
    assert first not in (second, list(range(500)))
    assert permutation(0, 1) == []
    assert permutation(1, 1) == [0]
