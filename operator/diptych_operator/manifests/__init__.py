"""From resources to manifests: pure functions that make plain values, one file for each kind of object."""
