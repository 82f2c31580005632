"""What `zart bench` measures on a database, where, and what the figures mean; `benchmarks/` builds on the same workflow."""
