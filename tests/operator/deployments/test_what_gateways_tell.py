"""What only the engines know: adapters that they refuse, how fast they are, what they were started with."""

from typing import Any

from diptych_api.readiness import Readiness
from diptych_api.servingconfig import ServedAdapter
from diptych_operator.told import Told
from support.gallery import DIGEST, SETTLED_S, Gallery

URI = "s3://bucket/style"
STYLE = [{"name": "style", "uri": URI}]
REFUSED = "Adapter style was made for another base (sha256:0123). Serve it with the base that it was trained on."
SILENT = Told(trouble="The gateway does not answer the operator: nobody is there.")
LOADED: dict[str, Any] = {"state": "Loaded", "digest": DIGEST, "step": 300}


def answer(uri: str = URI, *, replicas: int = 1, **values: Any) -> Told:
    """Return the answer of a gateway with one adapter, whose files were at a place."""
    mark = ServedAdapter(name="style", uri=uri).mark
    adapters = {"style": LOADED | values.pop("style", {}) | {"mark": mark}}
    return Told(Readiness.model_validate({"ready": True, "replicas": replicas, "adapters": adapters} | values))


def serving(**spec: Any) -> Gallery:
    """Return a deployment that serves; its gateway has not been heard yet."""
    gallery = Gallery(adapters=STYLE, **spec)
    gallery.hear(Told())
    gallery.serve()
    gallery.world.wait(SETTLED_S)
    return gallery


def test_an_adapter_counts_as_loaded_when_the_engines_say_so() -> None:
    gallery = serving()
    assert gallery.condition("Ready")[0] == "True"
    assert gallery.condition("AdaptersLoaded") == ("False", "Loading")
    gallery.hear(answer())
    assert gallery.condition("AdaptersLoaded") == ("True", "Loaded")
    (told,) = gallery.status["adapters"]
    assert (told["state"], told["fromStep"], told["digest"]) == ("Loaded", 300, DIGEST)


def test_a_refused_adapter_has_failed_and_the_base_still_serves() -> None:
    gallery = serving()
    gallery.hear(answer(style={"state": "Failed", "message": REFUSED, "digest": None, "step": None}))
    assert (gallery.condition("Ready")[0], gallery.status["phase"]) == ("True", "Ready")
    for kind in ("AdaptersLoaded", "Degraded"):
        assert gallery.condition(kind)[1] == "AdapterFailed"
        assert gallery.message(kind) == f"style: {REFUSED}"
    assert gallery.status["columns"]["adapters"] == "0/1"
    assert gallery.status["adapters"][0]["message"] == REFUSED
    assert gallery.told().count(("AdapterFailed", f"style: {REFUSED}")) == 1


def test_what_is_told_of_other_files_does_not_count() -> None:
    gallery = serving()
    gallery.hear(answer())
    gallery.change(adapters=[{"name": "style", "uri": "s3://bucket/newer"}])
    gallery.play("Running")
    gallery.world.wait(SETTLED_S)
    assert gallery.condition("AdaptersLoaded") == ("False", "Loading")
    gallery.hear(answer("s3://bucket/newer"))
    assert gallery.condition("AdaptersLoaded") == ("True", "Loaded")


def test_an_operator_that_starts_anew_or_hears_nothing_writes_nothing() -> None:
    gallery = serving()
    gallery.hear(answer(style={"state": "Failed", "message": REFUSED}))

    def restart() -> None:
        for told in (Told(), SILENT, answer(replicas=0)):
            gallery.hear(told)
            gallery.restart(gallery.world.defaults)

    assert gallery.writes(restart) == []
    assert gallery.status["adapters"][0]["state"] == "Failed"


def test_a_gateway_that_was_never_heard_is_told() -> None:
    gallery = serving()
    gallery.hear(SILENT)
    assert gallery.condition("AdaptersLoaded") == ("False", "Loading")
    assert gallery.status["adapters"][0]["message"] == SILENT.trouble


def test_figures_come_in_two_digits_and_stay_while_nobody_asks() -> None:
    gallery = serving()
    speed = {"p50_seconds": 1.8634, "p95_seconds": 12.345, "images_per_minute": 41.7}
    gallery.hear(answer(base_digest=DIGEST, performance=speed))
    assert gallery.status["performance"] == {"p50Seconds": 1.9, "p95Seconds": 12.0, "imagesPerMinute": 42.0}
    assert gallery.status["columns"]["p50"] == "1.9s"
    assert gallery.status["baseDigest"] == DIGEST
    assert gallery.writes(lambda: gallery.hear(answer(base_digest=DIGEST))) == []
    assert gallery.writes(lambda: gallery.hear(answer(performance=speed | {"p50_seconds": 1.871}))) == []


def test_a_cold_start_is_counted_from_the_pod_to_the_engine_that_draws() -> None:
    gallery = serving()
    made = gallery.world.now
    gallery.pod("noto-engine-1", conditions=[{"type": "PodScheduled", "lastTransitionTime": f"{made:%FT%TZ}"}])
    start = {"pod": "noto-engine-1", "ready": made.timestamp() + 61, "weights_seconds": 40, "warmup_seconds": 3.5}
    gallery.hear(answer(start=start))
    told = gallery.status["coldStart"]
    assert (told["weightsSeconds"], told["warmupSeconds"]) == (40, 3.5)
    assert told["lastSeconds"] == 61
