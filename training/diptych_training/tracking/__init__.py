"""MLflow is told of a run, from what the run store has anyway: whoever is away meanwhile hears of it later."""
