"""How fast it is, as ratios to others in the same run: ``python -m experiments.benchmarks [NAME...]``, one module a table."""
