from pathlib import Path

import pytest

from diptych_api.errors import SpecInvalid
from diptych_api.finetunejob import FineTuneJob
from diptych_api.overrides import apply_overrides
from diptych_api.yaml_reader import read_resource, read_resources

GOOD = """\
apiVersion: diptych.dev/v1alpha1
kind: FineTuneJob
metadata: {name: noto-style}
spec:
  base: {builtin: tiny-emoji}
  dataset: {source: {uri: examples/noto-style}}
"""
TWO_MISTAKES = """\
apiVersion: diptych.dev/v1alpha1
kind: FineTuneJob
metadata:
  name: noto-style
spec:
  base: {builtin: tiny-emoji}
  method: LoRA
  lora:
    rank: 0
    alpha: 16
  dataset:
    source:
      uri: examples/noto-style
    layuot: ImageFolder
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "job.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(text: str, *overrides: str) -> str:
    with pytest.raises(SpecInvalid) as error:
        read_resources(text, "job.yaml", overrides)
    return str(error.value)


def job(text: str, *overrides: str) -> FineTuneJob:
    [resource] = read_resources(text, "job.yaml", overrides)
    assert isinstance(resource, FineTuneJob)
    return resource


def test_mistakes_are_told_as_the_design_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, TWO_MISTAKES)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecInvalid) as error:
        read_resource("job.yaml")
    assert str(error.value) == (
        "job.yaml:9  spec.lora.rank: 0 is below 1. LoRA rank is the width of the update; 4 to 64 are usual.\n"
        "job.yaml:14 spec.dataset.layuot: unknown field. Did you mean layout?\n"
        "2 problems, nothing started."
    )
    assert [(p.line, p.field) for p in error.value.problems] == [(9, "spec.lora.rank"), (14, "spec.dataset.layuot")]
    assert error.value.exit_code == 2


def test_good_file_becomes_a_job(tmp_path: Path) -> None:
    resource = read_resource(write(tmp_path, GOOD))
    assert isinstance(resource, FineTuneJob)
    assert resource.metadata.name == "noto-style"
    assert resource.spec.base.builtin == "tiny-emoji"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("  method: lora", "spec.method: 'lora' is not one of LoRA, FullUNet and FromScratch. Did you mean LoRA?"),
        ("  suspend: maybe", "spec.suspend: expected true or false, got 'maybe'."),
        ("  retry: {backoffLimit: '3'}", "spec.retry.backoffLimit: expected a whole number, got '3'."),
        ("  retry: {backoffLimit: 21}", "spec.retry.backoffLimit: 21 is above 20."),
        ("  training: {learningRate: 0}", "spec.training.learningRate: 0 is not above 0."),
        ("  training: {learningRate: .nan}", "spec.training.learningRate: nan is not a finite number."),
        ("  training: {max_grad_norm: 1}", "spec.training.max_grad_norm: unknown field. Did you mean maxGradNorm?"),
        ("  training: {optimizer: {betas: [0.9, 1]}}", "spec.training.optimizer.betas[1]: 1 is not below 1."),
        ("  training: {samples: {prompts: [a, b, no]}}", "spec.training.samples.prompts[2]: expected text, got false."),
        ("  training: {steps: 5, epochs: 2}", "spec.training.epochs: set steps or epochs, not both."),
        ("  output: {uri: runs, pvc: {claimName: c}}", "spec.output: set exactly one of uri and pvc."),
        ("  promotion: {}", "spec.promotion.model: is missing. Name of the DiffusionModel."),
        ("  promotion: {model: Noto}", "spec.promotion.model: 'Noto' is not small letters, digits and dashes"),
        ("  unet: {}", "spec.unet: unet is set exactly when method is FromScratch."),
        ("  resources: 4", "spec.resources: expected a mapping, got 4."),
        ("  preset: flowers-scratch\n  method: LoRA", "spec.method: preset flickr30k-full trains FullUNet"),
        ("  preset: flowers-scratch\n  unet: {blockOutChannels: [64]}", "(with preset flowers-scratch)."),
    ],
)
def test_a_wrong_field_is_named_with_its_line(line: str, told: str) -> None:
    text = refusal(GOOD + line + "\n")
    assert told in text
    assert text.startswith(("job.yaml:7", "job.yaml:8", "job.yaml:4"))
    assert text.endswith("1 problem, nothing started.") or "with preset" in text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "job.yaml:1 holds no resource."),
        ("- a\n", "job.yaml:1 expected a resource with apiVersion, kind, metadata and spec."),
        ("kind: FinetuneJob\n", "Did you mean FineTuneJob?"),
        (GOOD.replace("v1alpha1", "v1"), "job.yaml:1 apiVersion: 'diptych.dev/v1' is not known."),
        (GOOD.replace("name:", "nmae:"), "metadata.nmae: unknown field. Did you mean name?"),
        (GOOD.replace("noto-style}", "Noto_Style}"), "job.yaml:3 metadata.name: metadata.name must be at most 40"),
        (GOOD + "  method: LoRA\n  method: LoRA\n", "job.yaml:8 spec.method: stands here twice; first on line 7."),
        (GOOD + "  suspend: !!python/name:os.system x\n", "the tag python/name:os.system is not known here."),
        (GOOD + "  <<: {suspend: true}\n", "job.yaml:7 spec: merge keys are not read; write the fields out."),
        (GOOD + "  1: x\n", "job.yaml:7 spec: every key must be text; put it in quotes."),
        (GOOD + "  suspend: *nowhere\n", "job.yaml:7 not YAML: found undefined alias 'nowhere'."),
        (GOOD + "  retry: {\n", "job.yaml:8 not YAML:"),
        ("a: \x00", "job.yaml:1 not YAML:"),
    ],
)
def test_broken_yaml_is_refused_with_its_line(text: str, told: str) -> None:
    assert told in refusal(text)


def test_yaml_that_wants_much_memory_is_refused() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
    )
    assert "aliases make more than" in refusal(bomb)
    assert "nested deeper than 64 levels" in refusal("[" * 1000)
    assert "aliases make more than" in refusal("a: &a [*a]\n")
    assert "larger than 1048576 characters" in refusal(" " * (1 << 20) + "a")


def test_numbers_and_texts_are_read_as_kubernetes_reads_them() -> None:
    text = GOOD + '  training: {learningRate: 1e-4, samples: {prompts: ["no", 12:30, 2026-01-01, x, 1_0x]}}\n'
    training = job(text).spec.training
    assert training.learning_rate == 1e-4
    assert training.samples.prompts == ["no", "12:30", "2026-01-01", "x", "1_0x"]


def test_several_documents_are_several_resources() -> None:
    model = "apiVersion: diptych.dev/v1alpha1\nkind: DiffusionModel\nmetadata: {name: noto}\nspec: {}\n"
    kinds = [resource.kind for resource in read_resources(f"---\n{GOOD}---\n{model}---\n", "all.yaml")]
    assert kinds == ["FineTuneJob", "DiffusionModel"]


def test_a_file_with_two_resources_is_no_single_job(tmp_path: Path) -> None:
    with pytest.raises(SpecInvalid, match="holds 2 resources"):
        read_resource(write(tmp_path, f"{GOOD}---\n{GOOD}"))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecInvalid, match="cannot be read: No such file or directory"):
        read_resource(tmp_path / "no.yaml")


def test_a_file_that_is_not_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecInvalid, match="is not UTF-8 text"):
        read_resource(path)


def test_overrides_win_over_the_file() -> None:
    changed = job(
        GOOD, "training.steps=300", "spec.lora.rank=4", "metadata.name=other", "training.samples.prompts=[a, b]",
        "training.samples.prompts[1]=c", "training.learningRate=2e-5", "output.uri=demo/runs",
    )  # fmt: skip
    assert (changed.spec.training.steps, changed.spec.lora.rank, changed.metadata.name) == (300, 4, "other")
    assert changed.spec.training.samples.prompts == ["a", "c"]
    assert changed.spec.training.learning_rate == 2e-5
    assert changed.spec.output.uri == "demo/runs"


def test_null_takes_a_field_away() -> None:
    text = GOOD + "  training: {epochs: 3}\n"
    assert job(text, "training.epochs=null", "training.steps=9").spec.training.epochs is None


def test_wrong_overrides_are_told() -> None:
    assert refusal(GOOD, "lora.rnk=4", "steps", "lora.targetModules[7]=x", "lora.rank.x=1", "lora=1: [") == (
        "--set lora.rnk=4              spec.lora.rnk: unknown field. Did you mean rank?\n"
        "--set steps                   write it as path=value, such as training.steps=1000.\n"
        "--set lora.targetModules[7]=x spec.lora.targetModules has no item 7.\n"
        "--set lora.rank.x=1           spec.lora.rank.x: unknown field.\n"
        "--set lora=1: [               not YAML: expected the node content, but found '<stream end>'.\n"
        "5 problems, nothing started."
    )


def test_a_wrong_value_of_an_override_is_told_where_it_was_said() -> None:
    assert refusal(GOOD, "lora.rank=0").startswith("--set lora.rank=0 spec.lora.rank: 0 is below 1.")


def test_overrides_leave_the_given_values_alone() -> None:
    raw = {"kind": "FineTuneJob", "spec": {"training": {"steps": 1}}}
    assert apply_overrides(raw, ["training.steps=2"])["spec"]["training"]["steps"] == 2
    assert raw["spec"] == {"training": {"steps": 1}}
