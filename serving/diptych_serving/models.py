"""What can be asked for, as both protocols tell it."""

from diptych_serving.bodies import ModelReply
from diptych_serving.directory import Directory


def list_models(directory: Directory) -> list[ModelReply]:
    """Return the base, then the adapters. Raises Refused while nothing is loaded."""
    intake = directory.intake()
    served = {adapter.name: adapter for adapter in intake.config.adapters}
    state = "Loaded" if directory.replicas else "Waiting"
    base = ModelReply(id=intake.base.name, kind="base", state=state, digest=intake.base.digest)
    adapters = [
        ModelReply(
            id=facts.name,
            kind="adapter",
            state=facts.state,
            digest=facts.digest,
            rank=facts.rank,
            method=facts.method,
            bytes=facts.bytes,
            strength=served[facts.name].strength,
            run=served[facts.name].run,
            message=facts.message,
        )
        for facts in directory.adapters()
    ]
    return [base, *adapters]
