"""Secrets of a job: which field fills which environment variable of its pods.

| field | variable |
| --- | --- |
| base.huggingFace.token | HF_TOKEN |
| dataset.source.huggingFace.token | DIPTYCH_DATASET_TOKEN, and HF_TOKEN where the base has no token |
| publish.token | DIPTYCH_PUBLISH_TOKEN |
| dataset.captioning.apiKey | OPENAI_API_KEY |
| tracking.token | MLFLOW_TRACKING_TOKEN |
| output.credentials, dataset.source.credentials | the name of the key, such as AWS_SECRET_ACCESS_KEY; without one all |
| | that object stores read, where the Secret has them |
| resources.pods.env | the name that stands there |
"""

from collections.abc import Iterator

from diptych_api.finetunejob import FineTuneJobSpec
from diptych_api.sources import SecretKey, StoreSecret
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.environment import from_secret
from diptych_operator.manifests.spec_names import check_secret
from diptych_operator.manifests.store_secrets import store_variables


def secret_variables(spec: FineTuneJobSpec) -> tuple[Manifest, ...]:
    """Return the variables that Secrets fill, but for those of `pods.env`. Raises SpecInvalid for impossible names."""
    return tuple(_variables(spec))


def publish_variables(spec: FineTuneJobSpec) -> Iterator[Manifest]:
    """Yield the variables that publishing needs: of the run store and of places that hear of it. Raises SpecInvalid.

    That of tracking may be missing: nothing else waits for it.
    """
    for name, field, secret in _tokens_of_promotion(spec):
        check_secret(secret, field)
        yield from_secret(name, secret, optional=field == "tracking.token")
    if spec.output.credentials:
        yield from store_variables(spec.output.credentials, "output.credentials")


def _variables(spec: FineTuneJobSpec) -> Iterator[Manifest]:
    for name, field, secret in _tokens(spec):
        check_secret(secret, field)
        yield from_secret(name, secret)
    for field, credentials in _credentials(spec):
        yield from store_variables(credentials, field)


def _tokens(spec: FineTuneJobSpec) -> Iterator[tuple[str, str, SecretKey]]:
    base, dataset = spec.base.hugging_face, spec.dataset.source.hugging_face
    base_token, dataset_token = base and base.token, dataset and dataset.token
    if token := base_token or dataset_token:
        yield "HF_TOKEN", "base.huggingFace.token" if base_token else "dataset.source.huggingFace.token", token
    if dataset_token:
        yield "DIPTYCH_DATASET_TOKEN", "dataset.source.huggingFace.token", dataset_token
    yield from _tokens_of_promotion(spec)
    if spec.dataset.captioning.api_key:
        yield "OPENAI_API_KEY", "dataset.captioning.apiKey", spec.dataset.captioning.api_key


def _tokens_of_promotion(spec: FineTuneJobSpec) -> Iterator[tuple[str, str, SecretKey]]:
    if spec.publish and spec.publish.token:
        yield "DIPTYCH_PUBLISH_TOKEN", "publish.token", spec.publish.token
    if spec.tracking and spec.tracking.token:
        yield "MLFLOW_TRACKING_TOKEN", "tracking.token", spec.tracking.token


def _credentials(spec: FineTuneJobSpec) -> Iterator[tuple[str, StoreSecret]]:
    found = {"output": spec.output.credentials, "dataset.source": spec.dataset.source.credentials}
    yield from ((f"{field}.credentials", secret) for field, secret in found.items() if secret)
