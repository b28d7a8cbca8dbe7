"""The kinds of resources that Diptych has."""

from diptych_api.diffusiondeployment import DiffusionDeployment
from diptych_api.diffusionmodel import DiffusionModel
from diptych_api.finetunejob import FineTuneJob
from diptych_api.finetunereport import FineTuneReport

AnyResource = FineTuneJob | DiffusionDeployment | DiffusionModel | FineTuneReport
KINDS: dict[str, type[FineTuneJob | DiffusionDeployment | DiffusionModel | FineTuneReport]] = {
    "FineTuneJob": FineTuneJob,
    "DiffusionDeployment": DiffusionDeployment,
    "DiffusionModel": DiffusionModel,
    "FineTuneReport": FineTuneReport,
}
