"""Measure what sessions and stores cost: see `benchmarks.__main__`."""
