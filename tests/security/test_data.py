"""What stands in a row is data: it is never run, nothing is imported by its name, and nothing of it gets into logs."""

import ast
import base64
import json
import logging
import os
import pickle
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import pytest

from zart import DeserializationError, DurableScheduler, PostgresScheduler, SqliteScheduler, TaskContext, TaskHandler, connect
from zart.codec import codec_for
from zart.errors import StorageUnavailable
from zart.outcome import load_error, load_failure, save_error
from zart.testing import Harness

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "zart").rglob("*.py"))

FORBIDDEN_MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "jsonpickle",
    "yaml",
    "ctypes",
    "code",
}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
KNOWN = {
    "zart/cli/handlers.py": (["import_module"], "imports what --app says: whoever types the command says it"),
    "zart/cli/sealing.py": (["import_module"], "imports what ZART_PAYLOAD_CODEC says"),
    "zart/codec/objects.py": (
        ["exec", "compile"],
        "writes the code of a codec, as attrs does, out of declared classes",
    ),
}
"""Where it happens all the same, and why it may."""


def dangers(path: Path) -> list[str]:
    """Return what a module does that could turn data into code."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                found += [each.name for each in names if each.name.partition(".")[0] in FORBIDDEN_MODULES]
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in FORBIDDEN_MODULES:
                found.append(module)
            case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
                found.append(name)
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module"), args=[ast.Constant(), *_]):
                continue
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module")):
                found.append("import_module")
    return found


def test_nothing_turns_data_into_code():
    found = {path.relative_to(ROOT).as_posix(): dangers(path) for path in MODULES}
    assert {path: what for path, what in found.items() if what} == {path: what for path, (what, _) in KNOWN.items()}


def test_the_checker_sees_them(tmp_path):
    module = tmp_path / "m.py"
    for code in ("import pickle", "from yaml import load", "eval(x)", "importlib.import_module(name)", "import marshal as m"):
        module.write_text(code)
        assert dangers(module), code


def test_no_name_in_a_declared_class_becomes_code(path):
    hostile = "a']\nimport planted_module #"
    for declared in (TypedDict("T", {hostile: int}), Mapped):
        codec = codec_for(declared)
        key = hostile if declared is not Mapped else "a"
        assert codec.decode(json.dumps({key: 1})) is not None
    assert set(vars(codec.decode('{"a": 1}'))) == {"a"}


# ---- planted in rows ----------------------------------------------------------------------------------------------------


class Boom:
    """What a pickle may do when it is read."""

    def __reduce__(self):
        return os.mkdir, ("planted",)


PLANTS = {
    "pickle": pickle.dumps(Boom(), 0).decode("ascii"),
    "pickle in base64": json.dumps(base64.b64encode(pickle.dumps(Boom())).decode()),
    "a type by name": json.dumps({"$zart:type": ["planted_module.Boom", {}]}),
    "an unknown tag": json.dumps({"$zart:planted_module": 1}),
    "jsonpickle": json.dumps({"py/object": "planted_module.Boom", "py/reduce": [{"py/function": "os.mkdir"}, ["planted"]]}),
    "yaml": "!!python/object/apply:os.mkdir [planted]",
    "an error by name": json.dumps(
        {"sort": "builtin", "class": "planted_module.Boom", "bases": [], "message": "", "step": "", "args": [], "state": {}}
    ),
    "nothing at all": "",
    "deep": "[" * 100_000,
}


@dataclass
class Mapped:
    a: int


class Order(TaskHandler[int, int]):
    name = "order"

    async def run(self, ctx: TaskContext, data: int) -> int:
        kept = await ctx.step("keep", lambda: data + 1, returns=int)
        return kept + await ctx.wait_for_event("add", int)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "planted_module.py").write_text("import os\nos.mkdir('planted')\nclass Boom(Exception): pass\n")
    yield tmp_path / "zart.db"
    assert "planted_module" not in sys.modules
    assert not (tmp_path / "planted").exists()


def plant(path, statement, text):
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, [text]).rowcount == 1


@pytest.mark.parametrize("text", PLANTS.values(), ids=PLANTS)
@pytest.mark.parametrize("column", ["input", "step", "mail", "result"])
async def test_what_is_planted_in_a_column_is_an_error_that_is_told(path, column, text):
    def storage(clock):
        return SqliteScheduler(path, clock=clock)

    async with Harness([Order()], storage=storage) as harness:
        handle = await harness.client.start_for(Order, "o-1", 1)
        if column == "input":
            plant(path, "UPDATE zart_executions SET payload = ?", text)
            await harness.run_to_idle()
            sane = plant, "UPDATE zart_executions SET payload = ?", "1"
        else:
            await harness.run_to_idle()
        if column == "step":
            plant(path, "UPDATE zart_steps SET payload = ? WHERE name = 'keep'", text)
        if column in {"step", "mail"}:
            await handle.send("add", 1)
        if column == "mail":
            plant(path, "UPDATE zart_mail SET payload = ?", text)
            await harness.run_to_idle()
        if column == "result":
            await handle.send("add", 1)
            await harness.run_to_idle()
            plant(path, "UPDATE zart_executions SET result = ?", text)
            with pytest.raises(DeserializationError):
                await handle.result("1s")
            return
        await harness.run_to_idle()
        execution = await harness.scheduler.get("o-1")
        history = await harness.scheduler.history("o-1")
        told = " ".join(filter(None, [execution.reason, *(each.payload for each in history.steps)]))
        assert execution.status == {"input": "failed", "step": "waiting", "mail": "waiting"}[column]
        assert "DeserializationError" in told or "is not of the type" in told
        if column == "input":
            _, statement, good = sane
            plant(path, statement, good)  # so that the record can be looked at


@pytest.mark.parametrize("text", PLANTS.values(), ids=PLANTS)
def test_what_is_planted_as_an_error_or_a_failure_is_one(path, text):
    assert isinstance(load_error(text, (ValueError,)), Exception)
    assert isinstance(load_failure(text, (ValueError,)).error, Exception)


def test_an_error_is_made_again_only_if_its_class_is_declared(path):
    class Mine(Exception):
        pass

    text = save_error(Mine("x"), (Mine,))
    assert type(load_error(text, (Mine,))) is Mine
    assert type(load_error(text.replace("Mine", "Boom"), (Mine,))) is not Mine
    assert type(load_error(text.replace(Mine.__module__, "planted_module"), ())).__module__.startswith("zart")


# ---- logs ----------------------------------------------------------------------------------------------------------------

CANARIES = {name: f"canary-{name}-4711" for name in ("input", "result", "event", "output", "password", "environment")}


class Loud(TaskHandler[str, str]):
    name = "loud"
    max_retries = 1

    def __init__(self) -> None:
        self.failed = False

    async def run(self, ctx: TaskContext, data: str) -> str:
        await ctx.step("keep", lambda: CANARIES["result"], returns=str)
        await ctx.wait_for_event("word", str, timeout="1h")
        if not self.failed:
            self.failed = True
            local = CANARIES["input"]
            raise ValueError(len(local))
        return CANARIES["output"]


async def test_logs_hold_no_values_of_users(tmp_path, monkeypatch, caplog):
    """Not even with everything logged and an error on the way; tracebacks are without the values of variables."""
    monkeypatch.setenv("ZART_CANARY", CANARIES["environment"])
    caplog.set_level(logging.DEBUG)
    async with Harness([Loud()], storage=lambda clock: SqliteScheduler(tmp_path / "zart.db", clock=clock)) as harness:
        handle = await harness.client.start_for(Loud, "l-1", CANARIES["input"])
        await harness.run_to_idle()
        await handle.send("word", CANARIES["event"])
        await handle.send("word", {"not": CANARIES["event"]})
        assert await handle.result("2h") == CANARIES["output"]
        record = await harness.client.status("l-1")
        assert CANARIES["input"] not in str(record.reason)
        history = await harness.scheduler.history("l-1")
        assert not any(CANARIES["input"] in (each.payload or "") for each in history.steps)
    assert caplog.records
    logged = "\n".join([caplog.text, *(str(vars(each)) for each in caplog.records)])
    assert [name for name, canary in CANARIES.items() if canary in logged] == []


URLS = [
    "postgresql://ann:{}@127.0.0.1:1/app",
    "postgresql://127.0.0.1:1/app?user=ann&password={}",
    "postgresql://ann:{}@127.0.0.1:1/app?nonsense=1",
    "postgres://ann:{}@[::1/app",
    "sqlite://ann:{}@host/x",
    "ftp://ann:{}@host/x",
]


@pytest.mark.parametrize("url", URLS)
async def test_a_password_is_in_no_error_and_no_name(url, caplog):
    caplog.set_level(logging.DEBUG)
    secret = CANARIES["password"]
    told = ""
    try:
        scheduler = connect(url.format(secret))
        told += repr(scheduler) + str(scheduler) + repr(DurableScheduler(scheduler))
        async with scheduler:
            pytest.fail("there is no server")
    except (ValueError, StorageUnavailable) as error:
        told += f"{error} {error!r}"
    assert told
    assert secret not in told + caplog.text


@pytest.mark.parametrize(("command", "url"), [("migrate", URLS[0]), ("worker", URLS[0]), *(("list", url) for url in URLS)])
def test_a_command_shows_no_password_and_none_is_in_its_arguments(url, command, tmp_path):
    """It comes by the environment, where other users of the machine do not see it."""
    secret = CANARIES["password"]
    environment = {**os.environ, "ZART_DATABASE_URL": url.format(secret), "ZART_APP": "flows:handler"}
    (tmp_path / "flows.py").write_text(
        "import sys, zart\n"
        "class Echo(zart.TaskHandler[str, str]):\n"
        "    async def run(self, ctx, data): return data\n"
        "handler = Echo()\n"
    )
    started = subprocess.run(
        [sys.executable, "-m", "zart.cli", command],
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert started.returncode in {69, 78}, started.stderr
    assert started.stderr
    assert secret not in started.stdout + started.stderr
    assert not any(secret in part for part in started.args)


async def test_an_engine_of_the_users_keeps_its_password_to_itself():
    class Url:
        def render_as_string(self, *, hide_password: bool) -> str:
            return f"postgresql+asyncpg://ann:{CANARIES['password']}@127.0.0.1:1/app"

    class Engine:
        url = Url()

    assert CANARIES["password"] not in repr(PostgresScheduler(Engine()))
