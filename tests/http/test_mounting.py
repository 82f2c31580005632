"""The API inside other applications, and what its packages need."""

import os
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

import zart.http
from tests.http.conftest import OPERATOR, QUICK, TOKENS, V1, client
from tests.http.flows import HANDLERS, registry
from zart import Worker, connect

ROOT = Path(__file__).parents[2]


def in_fastapi(api, lifespan):
    app = FastAPI(lifespan=lifespan)
    app.mount("/deep/zart", api)
    return app


def in_starlette(api, lifespan):
    return Starlette(routes=[Mount("/deep", routes=[Mount("/zart", app=api)])], lifespan=lifespan)


@pytest.mark.parametrize("mounted", [in_fastapi, in_starlette])
async def test_it_works_below_a_path_with_the_lifespan_of_the_application(tmp_path, mounted):
    storage = connect(f"sqlite:///{tmp_path / 'zart.db'}")
    api = zart.http.asgi(storage, registry, access=TOKENS, limits=QUICK)

    @asynccontextmanager
    async def lifespan(app):
        async with zart.http.lifespan(api)(app), Worker(storage, HANDLERS):
            yield

    app = mounted(api, lifespan)
    async with app.router.lifespan_context(app), client(httpx2.ASGITransport(app), OPERATOR) as caller:
        root = f"/deep/zart{V1}"
        body = {"task": "fails", "idempotency_key": "a/b"}
        started = await caller.post(f"{root}/executions", json=body)
        assert started.headers["location"] == f"{root}/executions/a%2Fb"
        assert (await caller.get(f"{started.headers['location']}/wait?timeout=20")).json()["status"] == "failed"
        assert (await caller.get("/deep/zart/healthz")).status_code == 200
        assert (await caller.get("/deep/zart/nothing")).json()["code"] == "no_such_path"
    assert api.closing.is_set()


async def test_it_opens_and_closes_its_storage_by_itself(tmp_path):
    api = zart.http.asgi(connect(f"sqlite:///{tmp_path / 'zart.db'}"), registry, access=TOKENS)
    async with api.router.lifespan_context(api), client(httpx2.ASGITransport(api), OPERATOR) as caller:
        assert (await caller.get("/readyz")).status_code == 200


async def test_a_database_that_was_never_opened_is_not_ready(tmp_path):
    api = zart.http.asgi(connect(f"sqlite:///{tmp_path / 'zart.db'}"), registry, access=TOKENS)
    async with client(httpx2.ASGITransport(api), None) as caller:
        answer = await caller.get("/readyz")
        assert answer.status_code in {500, 503}
        assert (await caller.get("/healthz")).status_code == 200


def test_tokens_come_from_the_environment(memory, monkeypatch):
    monkeypatch.setenv("ZART_READ_TOKEN", "r" * 32)
    monkeypatch.delenv("ZART_OPERATOR_TOKEN", raising=False)
    api = zart.http.asgi(memory)
    assert (len(api.access.read), len(api.access.operator), api.access.is_open) == (1, 0, False)


LOADED = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {%r}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import zart.http.client
import zart.http.schemas
print(sorted({"starlette", "uvicorn", "sse_starlette"} & sys.modules.keys()))
"""


@pytest.mark.parametrize("absent", ["starlette", "sse_starlette"])
def test_the_client_needs_nothing_of_the_server(absent):
    code = LOADED % absent
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert absent not in done.stdout
