"""Zart and its peers, each with the same tasks; what may be imported by one is not there for another."""
