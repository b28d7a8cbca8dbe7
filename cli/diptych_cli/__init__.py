"""The `diptych` command: thin, calls the other rooms."""
