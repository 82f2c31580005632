"""What the Inspector asks, for every dialect: pure functions that return statements.

Their columns come in the order of the fields of `Execution`, `StepRecord` and `Mail`; see `rows`. Where a run is asked for,
`execution_id` and, if it is pinned, `run` are parameters; `now`, where a statement has it, is storage's: a parameter of that
name, unless the dialect has something better.
"""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, func, literal_column, select, union_all

from zart.records import SUSPECT, Query
from zart.schedulers.sql.tables import executions, mail, steps, worker_tasks, workers

# A number in the text, not a parameter: the partial indexes that serve lists repeat it.
_CURRENT = executions.c.current == literal_column("1")

NOW: ColumnElement[int] = bindparam("now", None, BigInteger)

_EXECUTION = (
    *(
        executions.c[name]
        for name in ("id", "run", "task", "queue", "status", "payload", "result", "attempt", "fence", "worker")
    ),
    *(executions.c[name] for name in ("crashes", "crashed_workers", "reason", "created_at", "scheduled_at", "started_at")),
    *(executions.c[name] for name in ("completed_at", "due_at", "deadline", "mail")),
)
_STEP = ("seq", "name", "kind", "phase", "ok", "payload", "attempts", "due_at", "mail", "started_at", "at")
_MAIL = ("seq", "name", "payload", "at")


def get(*, pinned: bool, now: ColumnElement[int] = NOW) -> Select[Any]:
    """Return the statement for one run, or for the last one."""
    return _of_run(select(*_EXECUTION, _served(now)), pinned=pinned)


def history(*, pinned: bool) -> tuple[Select[Any], Select[Any]]:
    """Return the statements for the records and for the mail of a run, or of the last one."""
    key = _of_run(select(executions.c.key), pinned=pinned).scalar_subquery()
    return (
        select(*(steps.c[name] for name in _STEP)).where(steps.c.key == key).order_by(steps.c.seq),
        select(*(mail.c[name] for name in _MAIL)).where(mail.c.key == key).order_by(mail.c.seq),
    )


def find(query: Query, now: ColumnElement[int] = NOW) -> Select[Any]:
    """Return the statement for a page of current runs, and one execution more if there is another page.

    Its parameters are those of `page_of`: queries that differ in them alone are one statement.
    """
    key = executions.c.key
    given = page_of(query)
    limit, offset = (bindparam(name, given[name], BigInteger) for name in ("limit", "offset"))
    statement = select(*_EXECUTION, _served(now)).where(*_conditions(query)).limit(limit).offset(offset)
    if query.after is not None:
        last = executions.alias("last")
        after = last.c.id == bindparam("after", query.after)
        at = select(last.c.key).where(after, last.c.current == literal_column("1")).scalar_subquery()
        statement = statement.where(key < at if query.descending else key > at)
    if query.started is not None:
        bound: ColumnElement[int] = bindparam("started", query.started, BigInteger)
        created_at = executions.c.created_at
        statement = statement.where(created_at <= bound if query.descending else created_at >= bound)
    return statement.order_by(key.desc() if query.descending else key)


def page_of(query: Query) -> dict[str, Any]:
    """Return what the parameters of `find` are for a query."""
    tasks = {f"task_{number}": task for number, task in enumerate(query.tasks)}
    return {"limit": query.limit + 1, "offset": query.offset, "after": query.after, "started": query.started, **tasks}


def count(query: Query) -> Select[Any]:
    """Return the statement for how many current runs there are, by status."""
    status = executions.c.status
    return select(status, func.count()).where(*_conditions(query)).group_by(status)


def backlog(now: ColumnElement[int] = NOW) -> Select[Any]:
    """Return the statement for how many executions are due, and for how long the longest has been."""
    due_at, crashes = executions.c.due_at, executions.c.crashes
    suspect: ColumnElement[int] = literal_column(str(SUSPECT))
    # Each half is one of the partial indexes of what may be claimed.
    at = select(now).scalar_subquery()  # looked up once, not for each row
    both_halves = crashes < suspect, crashes >= suspect
    halves = [select(due_at).where(due_at.is_not(None), half, due_at <= at) for half in both_halves]
    due = union_all(*halves).subquery()
    longest: ColumnElement[int] = func.coalesce(at - func.min(due.c.due_at), literal_column("0"))
    both: tuple[ColumnElement[Any], ...] = (func.count(), longest)
    return select(*both).select_from(due)


def _served(now: ColumnElement[int]) -> ColumnElement[bool]:
    """Return whether a living worker has registered the execution's task."""
    living = (
        select(worker_tasks.c.worker)
        .join(workers, workers.c.id == worker_tasks.c.worker)
        .where(
            worker_tasks.c.task == executions.c.task,
            workers.c.state == literal_column("'alive'"),
            workers.c.lease_until > now,
        )
    )
    return living.exists().label("served")


def _of_run(statement: Select[Any], *, pinned: bool) -> Select[Any]:
    statement = statement.where(executions.c.id == bindparam("execution_id", None))
    if pinned:
        return statement.where(executions.c.run == bindparam("run", None))
    # The last run by its number: an id with thousands of runs is still found at once.
    return statement.order_by(executions.c.run.desc()).limit(literal_column("1"))


def _conditions(query: Query) -> list[ColumnElement[bool]]:
    conditions = [_CURRENT]
    if query.statuses:
        conditions.append(executions.c.status.in_([status.value for status in query.statuses]))
    if query.tasks:
        conditions.append(executions.c.task.in_([bindparam(f"task_{n}", task) for n, task in enumerate(query.tasks)]))
    return conditions
