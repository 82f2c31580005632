"""Clusters, tested for real: `make test-cluster`. Servers are killed under load; what was acknowledged is then counted."""
