"""The tables as SQLAlchemy sees them: columns to select. What holds them in shape stands in the migrations, once a dialect."""

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text

metadata: MetaData = MetaData()

executions: Table = Table(
    "zart_executions",
    metadata,
    Column("key", BigInteger, primary_key=True),
    Column("id", Text),
    Column("run", Integer),
    Column("current", Integer),
    Column("status", Text),
    Column("fence", BigInteger),
    Column("mail", BigInteger),
    Column("crashes", Integer),
    Column("attempt", Integer),
    Column("created_at", BigInteger),
    Column("scheduled_at", BigInteger),
    Column("started_at", BigInteger),
    Column("claimed_at", BigInteger),
    Column("completed_at", BigInteger),
    Column("due_at", BigInteger),
    Column("deadline", BigInteger),
    Column("worker", Text),
    Column("queue", Text),
    Column("task", Text),
    Column("start_key", Text),
    Column("crashed_workers", Text),
    Column("reason", Text),
    Column("payload", Text),
    Column("result", Text),
    Column("trace", Text),
)

steps: Table = Table(
    "zart_steps",
    metadata,
    Column("key", BigInteger, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("name", Text),
    Column("kind", Text),
    Column("phase", Text),
    Column("ok", Integer),
    Column("attempts", BigInteger),
    Column("due_at", BigInteger),
    Column("mail", BigInteger),
    Column("started_at", BigInteger),
    Column("at", BigInteger),
    Column("payload", Text),
)

mail: Table = Table(
    "zart_mail",
    metadata,
    Column("key", BigInteger, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("at", BigInteger),
    Column("name", Text),
    Column("event_id", Text),
    Column("payload", Text),
)

workers: Table = Table(
    "zart_workers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("state", Text),
    Column("lease_until", BigInteger),
    Column("lease", BigInteger),
    Column("news", BigInteger),
    Column("suspect", Integer),
    Column("registered_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("queues", Text),
    Column("tasks", Text),
    Column("about", Text),
)

worker_tasks: Table = Table(
    "zart_worker_tasks",
    metadata,
    Column("task", Text, primary_key=True),
    Column("worker", Text, primary_key=True),
)

settings: Table = Table(
    "zart_settings",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text),
)
