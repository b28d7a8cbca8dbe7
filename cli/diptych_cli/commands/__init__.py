"""One file for each command: its options, its help, and one call. Nothing heavy is imported before that call."""
