"""The numerics that training and serving share: torch only, no ray, no web."""
