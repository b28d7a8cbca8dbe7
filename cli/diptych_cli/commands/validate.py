"""`diptych validate`."""

from diptych_cli.arguments import AsJson, JobFile, Overrides
from diptych_cli.command import examples

NAME = "validate"
EXAMPLES = examples(
    ("diptych validate job.yaml", "Says what would run, or every mistake with its line."),
    (
        "diptych validate job.yaml --set lora.rank=32 --set training.steps=2000",
        "Checks the job with two fields changed.",
    ),
    (
        "diptych validate job.yaml --json",
        "The same for a script: summary, notes and the spec with its preset resolved.",
    ),
)


def command(job: JobFile, overrides: Overrides = None, *, as_json: AsJson = False) -> None:
    """Check a YAML file and say what would run. Nothing is started or downloaded.

    A data set that is a folder of this machine is counted as its layout says; its pictures are not opened.
    Settings that one machine cannot honour are named; those that would change the result are refused.
    """
    from diptych_cli.validating import validate  # noqa: PLC0415 - imports pydantic's models

    validate(job, overrides or [], as_json=as_json)
