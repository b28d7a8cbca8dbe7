"""The words every part of Diptych shares: resources, run store, reports, errors, names, quantities."""
