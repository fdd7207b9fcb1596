"""Speed, as ratios to other implementations in the same run.

``python -m experiments.benchmarks [NAME...]``; each module measures one set of tables.
"""
