"""Measurements against peers; `python -m benchmarks` lists and runs them. Nothing here is installed."""
