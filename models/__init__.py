"""The protocol between workers and storage as a Spin model, and the mutants that it must refute. `make model`."""
