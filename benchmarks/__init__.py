"""Benchmarks: each module is a command that prints one JSON object last. results/ keeps the figures."""
