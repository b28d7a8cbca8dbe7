"""What the benchmarks of Diptych measure with, and what they measure against."""
