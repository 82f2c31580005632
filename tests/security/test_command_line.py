"""The command line takes the payload codec from the environment, and says what is wrong with it."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from zart import DurableScheduler, TaskContext, TaskHandler, Worker, connect
from zart.cli.errors import Refused
from zart.cli.sealing import payload_codec
from zart.sealing import Sealed, new_key

ROOT = Path(__file__).parents[2]
KEY = new_key()
KEYS = {"ZART_PAYLOAD_KEYS": f"k1={KEY}"}
OWN = """
class Backwards:
    allow_plain = False
    def seal(self, text, place): return text[::-1]
    def open(self, sealed, place): return sealed[::-1]
codec = Backwards()
no_codec = object()
"""


@pytest.fixture
def zart(tmp_path):
    (tmp_path / "mine.py").write_text(OWN)

    def run(*arguments, **environment):
        known = {"PYTHONPATH": str(ROOT), "ZART_DATABASE_URL": "sqlite:///zart.db", "ZART_OUTPUT": "json"}
        ended = subprocess.run(
            [sys.executable, "-m", "zart.cli", *arguments],
            env={**os.environ, **known, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        return ended.returncode, json.loads(ended.stdout or ended.stderr)

    return run


def stored(tmp_path):
    with closing(sqlite3.connect(tmp_path / "zart.db")) as connection:
        return connection.execute("SELECT payload FROM zart_executions ORDER BY key").fetchall()


class Flow(TaskHandler[str, str]):
    name = "flow"

    async def run(self, ctx: TaskContext, data: str) -> str:
        return data


async def test_commands_seal_and_open(zart, tmp_path):
    schedule = ("schedule", "flow", "--id", "f-1", "--data", '"a secret"')
    assert zart("migrate", **KEYS) == (0, {"database": "sqlite:///zart.db", "from": 0, "to": 3})
    assert zart(*schedule, **KEYS)[0] == 0
    assert zart(*schedule, **KEYS)[1]["repeated"] is True
    code, told = zart(*schedule)
    assert (code, told["code"]) == (2, "invalid_data")
    assert "the data that it was started with is sealed (1:k1) and there is no payload codec here" in told["message"]
    url = f"sqlite:///{tmp_path / 'zart.db'}"
    async with connect(url, payload_codec=Sealed({"k1": KEY})) as storage, Worker(storage, [Flow()]):
        await DurableScheduler(storage).wait_for(Flow, "f-1", "20s")
    assert zart("status", "f-1", **KEYS)[1]["output"] == "a secret"
    code, shown = zart("status", "f-1")
    assert (code, shown["status"]) == (0, "completed")
    assert shown["output"]["sealed"].startswith("the output is sealed (1:k1) and there is no payload codec here; give connect(")
    assert zart("schedule", "flow", "--id", "f-2", "--data", '"a secret"', ZART_PAYLOAD_CODEC="mine:codec")[0] == 0
    rows = stored(tmp_path)
    assert rows[1] == ('zart-sealed:"terces a"',)
    assert "secret" not in rows[0][0]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"ZART_PAYLOAD_KEYS": KEY}, "is not name=base64"),
        ({"ZART_PAYLOAD_KEYS": "k1=short"}, "key 'k1' is no base64|has . bytes"),
        ({"ZART_PAYLOAD_ALLOW_PLAIN": "1"}, "there is no key"),
        ({**KEYS, "ZART_PAYLOAD_CODEC": "mine:codec"}, "are both set"),
        ({"ZART_PAYLOAD_CODEC": "mine"}, "is 'mine'"),
        ({"ZART_PAYLOAD_CODEC": "mine:absent"}, "AttributeError"),
        ({"ZART_PAYLOAD_CODEC": "nowhere_at_all:codec"}, "ModuleNotFoundError"),
        ({"ZART_PAYLOAD_CODEC": "mine:no_codec"}, "is no payload codec"),
    ],
)
def test_what_is_wrong_with_the_environment_is_told_without_the_key(environment, said, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    with pytest.raises(Refused, match=said) as refused:
        payload_codec(environment)
    assert refused.value.problem.code == "bad_payload_codec"
    assert KEY.rstrip("=") not in str(refused.value)
    sys.modules.pop("mine", None)


def test_a_command_that_is_told_wrong_does_nothing(zart, tmp_path):
    code, told = zart("migrate", ZART_PAYLOAD_KEYS="nonsense")
    assert (code, told["code"]) == (78, "bad_payload_codec")
    assert not (tmp_path / "zart.db").exists()


def test_without_any_variable_there_is_no_codec():
    assert payload_codec({}) is None
    assert isinstance(payload_codec(KEYS), Sealed)
