"""Compare finished runs, or models of one run, item by item on the benchmarks that they share."""
