"""Benchmarks: each module is a command that prints one JSON object last; docs/benchmarks.md holds what they printed."""
