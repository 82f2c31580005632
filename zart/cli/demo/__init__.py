"""`zart demo`: a real job whose worker is killed in the middle, and the proof that no step was repeated.

`pipeline` is the workflow, `ledger` counts what really ran, `story` plays it with a worker in a process of its own.
"""
