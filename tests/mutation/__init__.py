"""Mutation testing: what the tests let pass when the code under them is wrong on purpose. `make mutate`."""
