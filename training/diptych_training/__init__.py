"""The program that trains: the same on one machine and inside a RayJob."""
