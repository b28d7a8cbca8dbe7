"""The view of a run: a pure function of its reports."""

import io

from rich.console import Console, RenderableType

from diptych_api.report import MetricValue
from diptych_cli.phrases import clock, size, spaced
from diptych_cli.story import Story
from diptych_cli.story_lines import Lines
from diptych_cli.story_view import closing, render
from support.recorded_run import recorded, report

HEAD = "noto-style · LoRA r=16 on tiny-emoji · 2 CPU cores"


def text(shown: RenderableType) -> list[str]:
    console = Console(width=110, file=io.StringIO(), record=True)
    console.print(shown)
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_training_shows_steps_losses_speed_and_time_left() -> None:
    told = [r for r in recorded() if r.phase != "Succeeded" and r.step <= 200 and r.phase != "Evaluating"]
    head, before, going = text(render(Story.of(HEAD, told)))
    assert head == HEAD
    assert before == "prepare ✓ 240 pictures, 0 bad   cache ✓ 240"
    assert going.startswith("train    ━━━━━━━━━━━━━━━━")
    assert going.endswith("200/300 · loss 0.133 · val 0.147 (was 0.187) · 31.2 img/s · 0:44 left")


def test_the_end_shows_what_was_learned() -> None:
    story = Story.of(HEAD, recorded())
    assert text(render(story))[-1] == "✓ trained in 1:53 · artifact 912.3 kB · val loss 0.187 → 0.124"
    table = closing(story)
    assert table is not None
    assert [line.split() for line in text(table)] == [
        ["base", "tuned", "change"],
        ["validation", "loss", "0.187", "0.124", "−34", "%"],
        ["style", "distance", "0.412", "0.223", "−46", "%"],
        ["nearer", "by", "style", "21", "%", "84", "%"],
        ["trainable", "parameters", "231,936"],
        ["seconds", "150"],
    ]


def test_the_loss_that_the_evaluation_measured_comes_before_that_of_training() -> None:
    measured = report(
        "Succeeded", first_val_loss=0.2, metrics=[MetricValue(name="ValidationLoss", base=0.3, tuned=0.15)]
    )
    table = closing(Story.of(HEAD, [measured]))
    assert table is not None
    assert text(table)[1].split() == ["validation", "loss", "0.300", "0.150", "−50", "%"]


def test_messages_and_the_wish_to_stop_are_shown_once() -> None:
    resuming = [report("Training", s, step=200 + s, total_steps=300, message="Going on from step 200.") for s in (0, 1)]
    shown = text(render(Story.of(HEAD, resuming), stopping=True))
    assert shown.count("Going on from step 200.") == 1
    assert shown[-1].startswith("stopping: saving a checkpoint")


def test_a_phase_that_was_cut_short_has_no_tick() -> None:
    cut = [report("Training", step=20, total_steps=300), report("Suspended", 1, step=20, message="Stopped.")]
    assert "✓" not in "".join(text(render(Story.of(HEAD, cut))))
    lines = Lines(Story(HEAD))
    assert [line for told in cut for line in lines.after(told)] == [HEAD, "train 20/300", "Stopped."]


def test_before_the_first_report_the_view_says_what_it_waits_for() -> None:
    assert text(render(Story(HEAD))) == [HEAD, "starting Ray and PyTorch …"]


def test_a_run_that_was_already_done_has_no_time() -> None:
    story = Story.of(HEAD, [list(recorded())[-1]])
    assert text(render(story))[-1] == "✓ trained · artifact 912.3 kB · val loss 0.187 → 0.124"
    table = closing(story)
    assert table is not None
    assert "seconds" not in "".join(text(table))


def test_a_log_file_gets_each_phase_and_progress_every_few_seconds() -> None:
    lines = Lines(Story(HEAD))
    dense = [report("Training", s / 10, step=s, total_steps=100, loss=0.1) for s in range(101)]
    said = [line for told in (report("Preparing", pictures=4), *dense) for line in lines.after(told)]
    assert said == [HEAD, "prepare ✓ 4 pictures, 0 bad", *(f"train {s}/100 · loss 0.100" for s in (0, 50, 100))]


def test_a_log_file_tells_the_whole_run() -> None:
    lines = Lines(Story(HEAD))
    said = [line for told in recorded() for line in lines.after(told)]
    assert said[1:3] == ["prepare ✓ 240 pictures, 0 bad", "cache 120 of 240"]
    assert said[-1] == "✓ done · artifact 912.3 kB · val loss 0.187 → 0.124"


def test_figures_read_as_people_write_them() -> None:
    assert [clock(s) for s in (0.4, 59.6, 754, 10930)] == ["0:00", "1:00", "12:34", "3:02:10"]
    assert [size(n) for n in (12, 912_345, 5_000_000_000)] == ["12 B", "912.3 kB", "5.0 GB"]
    assert [spaced(n) for n in ("StyleDistance", "CLIPScore", "KID")] == ["style distance", "CLIP score", "KID"]
