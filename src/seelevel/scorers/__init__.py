"""Benchmarks: questions, scores, figures, and how an item is shown."""
