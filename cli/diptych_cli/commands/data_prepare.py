"""`diptych data prepare`."""

from diptych_cli.arguments import AsJson, JobFile, Overrides
from diptych_cli.command import examples

NAME = "prepare"
EXAMPLES = examples(
    ("diptych data prepare job.yaml", "Reads, checks, filters and splits the pictures; a run goes on from there."),
    ("diptych data prepare job.yaml --set dataset.dedup.enabled=true", "Without near-duplicates: another run."),
)


def command(job: JobFile, overrides: Overrides = None, *, as_json: AsJson = False) -> None:
    """Prepare the data set of a job and stop there, to look at it before training.

    What was seen of pictures is kept: the same command goes on where an earlier one ended.
    """
    from diptych_cli.preparing import prepare  # noqa: PLC0415 - imports pydantic's models

    prepare(job, overrides or [], as_json=as_json)
