"""Tests of training on one Ray, which stays up from the first to the last of them."""
