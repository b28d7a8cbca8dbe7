"""What follows training, in one Ray task: the artifact, its check, the evaluation."""

from dataclasses import dataclass

import ray
import torch
from diptych_api.errors import DiptychError
from diptych_api.report import ArtifactRef, MetricValue
from diptych_api.runstore import ARTIFACT, EVALUATION

from diptych_training.mailbox import PhaseProgress, Sender
from diptych_training.share import Share
from diptych_training.validation import Standing


@dataclass(frozen=True, slots=True)
class Finished:
    """What a complete run leaves behind."""

    artifact: ArtifactRef
    metrics: tuple[MetricValue, ...]
