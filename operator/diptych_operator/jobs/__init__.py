"""From what is seen of a FineTuneJob to what is to be done: pure, without a clock of its own and without I/O."""
