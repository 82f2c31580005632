"""What is found of tables, in the same words on every dialect."""

from collections.abc import Mapping, Sequence

from zart.checkup import Finding, Verdict, told

SKEW = 2.0
"""Seconds that two clocks may differ before it is told."""
_MOST = 5
"""Tasks that are named."""


def not_reached(fault: Exception) -> Finding:
    """Tell of a server that could not be reached, and why."""
    said = str(fault)
    message, _, mend = said.rpartition("; ")
    hint = mend if message else "look at the address, the server and the network"
    return Finding("database", Verdict.FAIL, message or said, hint)


def unseen(check: str, fault: Exception) -> Finding:
    """Tell of what could not be looked at, and why."""
    return Finding(check, Verdict.FAIL, f"it could not be looked at: {fault}", "mend that first, then look again")


def schema(version: int, mismatch: str | None) -> Finding:
    """Tell of the tables' version, and what is wrong with it."""
    if mismatch is None:
        return Finding("schema", Verdict.OK, f"version {version}, as this Zart needs")
    message, _, mend = mismatch.rpartition("; ")
    return Finding("schema", Verdict.FAIL, message, mend)


def indexes(expected: int, wrong: Mapping[str, str]) -> Finding:
    """Tell of indexes: what is wrong with some of them, each with what mends it."""
    if not wrong:
        return Finding("indexes", Verdict.OK, f"all {expected} are there")
    said = f"{', '.join(wrong)}: whole tables are read instead"
    return Finding("indexes", Verdict.FAIL, said, f"run {'; '.join(wrong.values())}")


def stored_times(ahead: float | None) -> Finding:
    """Tell how many seconds the latest time that was stored lies in the future; None: there is none."""
    if ahead is None or ahead <= SKEW:
        return Finding("stored times", Verdict.OK, "none lies in the future")
    said = f"the database holds times that lie {told(ahead)} in the future: its clock has been set back"
    return Finding(
        "stored times", Verdict.FAIL, said, "set the clock right; until then timers and retries are as much too late"
    )


def unserved(rows: Sequence[tuple[str, str, int, float]]) -> Finding:
    """Tell of what waits for a worker: queue, task, how many executions, and for how many seconds."""
    if not rows:
        return Finding("workers", Verdict.OK, "whatever is due has a worker that serves it")
    shown = [
        f"{number} of {task}{'' if queue == 'default' else f' in queue {queue}'} for {told(waited)}"
        for queue, task, number, waited in rows[:_MOST]
    ]
    if len(rows) > _MOST:
        shown.append(f"{len(rows) - _MOST} tasks more")
    hint = "start `zart worker` with an --app that registers the task (and its --queue), or look for a misspelt name"
    return Finding("workers", Verdict.FAIL, f"due, and no living worker serves it: {', '.join(shown)}", hint)
