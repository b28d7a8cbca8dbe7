"""Tests of one deployment on a real Ray Serve, which stays up from the first to the last of them."""
