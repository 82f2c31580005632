"""What Zart costs, measured on this machine through its public API: `python -m benchmarks`."""
