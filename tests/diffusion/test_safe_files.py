import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save_file

from diptych_api.errors import AdapterInvalid, BaseInvalid
from diptych_diffusion.builtin import builtin_folder
from diptych_diffusion.fingerprint import file_digest, folder_digest, weights_digest
from diptych_diffusion.safe_files import CODE_SUFFIXES, check_folder, load_stored, load_tensors, read_header, read_json

EMPTY = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
F32_PAIR = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def write(path: Path, header: object, data: bytes = b"\0" * 8) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    return path


@pytest.mark.parametrize("suffix", [*sorted(CODE_SUFFIXES), ".PKL"])
def test_files_that_can_run_code_are_refused_wherever_they_lie(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / f"weights{suffix}").touch()
    with pytest.raises(BaseInvalid, match="can run code"):
        check_folder(tmp_path)


def test_a_link_may_point_inside_its_folder_only(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "real.json").write_text("{}")
    (folder / "inside.json").symlink_to("real.json")
    check_folder(folder)
    (tmp_path / "secret.json").write_text("{}")
    (folder / "outside.json").symlink_to("../secret.json")
    with pytest.raises(AdapterInvalid, match=r"outside\.json is a link that leaves"):
        check_folder(folder, error=AdapterInvalid)


def test_links_to_folders_outside_links_to_nothing_and_loops_are_refused(tmp_path: Path) -> None:
    for name, target in (("up", ".."), ("nothing", "missing"), ("loop", "loop")):
        folder = tmp_path / f"with-{name}"
        folder.mkdir()
        (folder / name).symlink_to(target)
        with pytest.raises(BaseInvalid, match=f"{name} is a link"):
            check_folder(folder)


def test_pipes_and_absurd_sizes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(BaseInvalid, match="neither a file nor a folder"):
        check_folder(tmp_path)
    (tmp_path / "pipe.json").unlink()
    with (tmp_path / "huge.safetensors").open("wb") as file:
        file.truncate(65 << 30)
    with pytest.raises(BaseInvalid, match="too large"):
        check_folder(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BaseInvalid, match="nowhere is not a folder"):
        check_folder(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["[1]", "{", "[" * 100_000, "\xff"])
def test_json_that_is_no_object_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(BaseInvalid, match=r"config\.json"):
        read_json(path)


def test_tensors_come_back_as_they_were_stored(tmp_path: Path) -> None:
    stored = {
        "half": torch.randn(3, 4, dtype=torch.bfloat16),
        "count": torch.tensor(7),
        "none": torch.zeros(0, 5),
        "yes": torch.tensor([True, False]),
    }
    save_file(stored, tmp_path / "t.safetensors", {"format": "pt"})
    assert read_header(tmp_path / "t.safetensors")["half"]["shape"] == [3, 4]
    loaded = load_tensors(tmp_path / "t.safetensors")
    assert loaded.keys() == stored.keys()
    assert all(torch.equal(loaded[name], stored[name]) and loaded[name].dtype == stored[name].dtype for name in stored)


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ([1], b""),
        (b"{", b""),
        (b"[" * 50_000, b""),
        (b'{"a": EMPTY, "a": EMPTY}'.replace(b"EMPTY", json.dumps(EMPTY).encode()), b""),
        (F32_PAIR, b"\0" * 7),
        (F32_PAIR, b"\0" * 9),
        ({"a": {**F32_PAIR["a"], "shape": [3]}}, b"\0" * 8),
        ({"a": {**F32_PAIR["a"], "shape": [-2]}}, b"\0" * 8),
        ({"a": {**F32_PAIR["a"], "shape": [2.0]}}, b"\0" * 8),
        ({"a": {**F32_PAIR["a"], "shape": [1] * 17 + [2]}}, b"\0" * 8),
        ({"a": {**F32_PAIR["a"], "dtype": "PICKLE"}}, b"\0" * 8),
        ({"a": {**F32_PAIR["a"], "data_offsets": [8, 0]}}, b"\0" * 8),
        ({"a": {**F32_PAIR["a"], "run": "me"}}, b"\0" * 8),
        ({"a": "text"}, b""),
        ({"__metadata__": {"format": 1}}, b""),
        ({"a": F32_PAIR["a"], "b": F32_PAIR["a"]}, b"\0" * 8),
        ({"a": {**F32_PAIR["a"], "data_offsets": [4, 12]}}, b"\0" * 12),
    ],
)
def test_a_header_that_contradicts_itself_or_its_file_is_refused(tmp_path: Path, header: object, data: bytes) -> None:
    path = write(tmp_path / "t.safetensors", header, data)
    with pytest.raises(AdapterInvalid, match=r"t\.safetensors has a broken safetensors header"):
        read_header(path, error=AdapterInvalid)


def test_a_header_may_not_be_huge_nor_list_many_tensors(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    path.write_bytes((9 << 20).to_bytes(8, "little"))
    with path.open("ab") as file:
        file.truncate(10 << 20)
    with pytest.raises(BaseInvalid, match="not a safetensors file"):
        read_header(path)
    write(path, {f"t{index}": EMPTY for index in range(20_001)}, b"")
    with pytest.raises(BaseInvalid, match="20001 tensors"):
        read_header(path)


def test_missing_and_short_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseInvalid, match="cannot be read: No such file"):
        load_tensors(tmp_path / "t.safetensors")
    (tmp_path / "t.safetensors").write_bytes(b"\0\0")
    with pytest.raises(BaseInvalid, match="not a safetensors file"):
        load_tensors(tmp_path / "t.safetensors")


entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "U8", "X9"]),
        "shape": st.lists(st.integers(-1, 3), max_size=3),
        "data_offsets": st.lists(st.integers(-1, 24), min_size=2, max_size=2),
    }
)
headers: st.SearchStrategy[Any] = st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), entries | st.just({}))


@settings(max_examples=200, deadline=None)
@given(header=headers, data=st.binary(max_size=24))
def test_whatever_passes_the_check_the_safetensors_library_accepts(
    tmp_path_factory: pytest.TempPathFactory, header: dict[str, object], data: bytes
) -> None:
    path = write(tmp_path_factory.getbasetemp() / "fuzz.safetensors", header, data)
    try:
        checked = read_header(path)
    except BaseInvalid:
        return
    assert load(path.read_bytes()).keys() == checked.keys() - {"__metadata__"}


def test_shards_are_joined_and_may_neither_overlap_nor_lie_elsewhere(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "1.safetensors")
    save_file({"b": torch.ones(1)}, tmp_path / "2.safetensors")
    assert load_stored(tmp_path, ["1.safetensors", "2.safetensors"]).keys() == {"a", "b"}
    save_file({"a": torch.ones(1)}, tmp_path / "2.safetensors")
    with pytest.raises(BaseInvalid, match="another shard holds too"):
        load_stored(tmp_path, ["1.safetensors", "2.safetensors"])
    with pytest.raises(BaseInvalid, match="names the file"):
        load_stored(tmp_path / "x", ["../1.safetensors"])


def test_a_weights_digest_sees_every_bit_and_nothing_else() -> None:
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(1, dtype=torch.int64)}
    digest = weights_digest(state)
    assert digest == "78de3259000dc050afd4148524f14b05750328f6df58b0010c0fd9b5e97fadbc"
    transposed = torch.arange(6.0).reshape(2, 3).t().contiguous().t()
    assert weights_digest({"b": state["b"], "a": transposed}) == digest
    nudged = torch.nextafter(state["a"], torch.tensor(9.0))
    for other in ({"a": nudged}, {"a": state["a"].reshape(3, 2)}, {"a": state["a"].bfloat16()}, {"c": state["a"]}):
        assert weights_digest({**state, **other}) != digest
    module = torch.nn.Linear(2, 2)
    assert weights_digest(module) == weights_digest(module.state_dict())


def test_file_and_folder_digests_follow_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "a.txt").write_text("abc")
    assert file_digest(tmp_path / "part" / "a.txt").startswith("ba7816bf")
    before = folder_digest(tmp_path)
    (tmp_path / ".hidden").write_text("x")
    assert folder_digest(tmp_path) == before
    (tmp_path / "part" / "a.txt").rename(tmp_path / "a.txt")
    assert folder_digest(tmp_path) != before


def test_a_builtin_base_that_is_not_installed_is_named() -> None:
    with pytest.raises(BaseInvalid, match="'no-such-base' is not in this installation"):
        builtin_folder("no-such-base")
