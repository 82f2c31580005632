"""Restate: its own server with its own log, and a Python service that the server calls over HTTP/2.

The server is the npm package's program, in the environment that Python runs in; starts overlap with execution in W1, because
the server pushes.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import restate as sdk
from hypercorn.asyncio import serve
from hypercorn.config import Config

from benchmarks.child import say
from benchmarks.race import CUSTOMER, LINE, STEPS, Course, Figures, Race, Tally, data, executions, main, stride
from tests.servers.program import kept

_PROGRAMS = "node_modules/@restatedev/restate-server-*/bin/restate-server"
"""Where npm has put the server's program, one package for each kind of machine."""
_INGRESS, _ADMIN, _NODE, _SERVICE = 18080, 19070, 15122, 19080
_CONNECTIONS = 200
_PATIENCE = 30.0
_LARGEST = 2**31 - 1


def services(course: Course, workload: str) -> Any:
    """Return the application that the server calls."""
    tally = Tally(executions(workload, course.sizes))
    service, shipping = sdk.Service("bench"), sdk.Workflow("shipping")

    async def charge(number: int, customer: str) -> dict[str, Any]:
        return {**LINE, "number": number, "customer": customer}

    async def marked(number: int, customer: str) -> dict[str, Any]:
        stride(number, course.sizes)
        return await charge(number, customer)

    async def after() -> dict[str, Any]:
        say("went-on")
        return await charge(1, CUSTOMER)

    @service.handler()
    async def order(ctx: sdk.Context, given: dict) -> dict:  # type: ignore[type-arg] # the library reads them
        tally.enter()
        line: dict[str, Any] = {}
        for number in range(given["steps"]):
            line = await ctx.run_typed(f"charge-{number}", charge, number=number, customer=given["customer"])
        tally.leave()
        return line

    @service.handler()
    async def fan(ctx: sdk.Context, given: dict) -> dict:  # type: ignore[type-arg] # as above
        await sdk.gather(
            *(ctx.run_typed(f"charge-{n}", charge, number=n, customer=given["customer"]) for n in range(given["steps"]))
        )
        return {}

    @service.handler()
    async def long(ctx: sdk.Context, given: dict) -> dict:  # type: ignore[type-arg] # as above
        line: dict[str, Any] = {}
        for number in range(given["steps"]):
            line = await ctx.run_typed(f"charge-{number}", marked, number=number, customer=given["customer"])
        return line

    @shipping.main()
    async def run(ctx: sdk.WorkflowContext, given: dict) -> dict:  # type: ignore[type-arg] # as above
        await ctx.promise("shipped").value()
        return await ctx.run_typed("after", after)

    @shipping.handler()
    async def arrive(ctx: sdk.WorkflowSharedContext, number: int) -> None:
        await ctx.promise("shipped").resolve("1")

    return sdk.app(services=[service, shipping])


class Restate:
    """Its client, its server, and the service."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._http: Any = None
        self._server: subprocess.Popen[bytes] | None = None
        self._sent = 0

    async def prepare(self) -> None:
        """Start the server; it ends with this process."""
        own = {
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{_INGRESS}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{_ADMIN}",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{_NODE}",
            "RESTATE_DISABLE_TELEMETRY": "true",
            "RESTATE_TELEMETRY__ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "RUST_LOG": "error",
        }
        program = next(Path(sys.prefix).glob(_PROGRAMS))
        command = kept([program, "--base-dir", self._course.folder / "restate", "--node-name", "one"])
        with (self._course.folder / "restate.log").open("wb") as log:
            self._server = subprocess.Popen(  # noqa: ASYNC220, S603 # nothing else happens meanwhile
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env={**os.environ, **own}
            )
        await self.open()
        async with asyncio.timeout(_PATIENCE):
            while not (
                await self._answers(f"http://127.0.0.1:{_ADMIN}/health") and await self._answers(self._at("/restate/health"))
            ):
                await asyncio.sleep(0.1)

    async def _answers(self, url: str) -> bool:
        try:
            return bool((await self._http.get(url)).is_success)
        except httpx.HTTPError:
            return False

    async def open(self) -> None:
        """Connect."""
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=120)

    async def close(self) -> None:
        """Stay connected: nobody counts its connections."""

    async def register(self) -> None:
        """Tell the server where the service is, once it is there."""
        answer = await self._http.post(
            f"http://127.0.0.1:{_ADMIN}/deployments", json={"uri": f"http://127.0.0.1:{_SERVICE}", "force": True}
        )
        answer.raise_for_status()

    def _at(self, path: str) -> str:
        return f"http://127.0.0.1:{_INGRESS}{path}"

    async def start(self, task: str, steps: int) -> Any:
        """Begin a call, and leave its answer for later; an execution that waits is only sent."""
        self._sent += 1
        if task == "shipped":
            path = f"/shipping/{self._sent}"
            (await self._http.post(self._at(f"{path}/run/send"), json=data(steps))).raise_for_status()
            return path
        return asyncio.ensure_future(self._http.post(self._at(f"/bench/{task}"), json=data(steps)))

    async def start_many(self, task: str, steps: int, number: int) -> None:
        """Send calls over many connections."""
        await self.pour(task, steps, number, _CONNECTIONS)

    async def pour(self, task: str, steps: int, number: int, connections: int) -> None:
        """Send calls over so many connections, by hand: an HTTP client of Python would be what is measured."""
        body = json.dumps(data(steps)).encode()
        head = f"POST /bench/{task}/send HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body

        async def send(share: int) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", _INGRESS)
            for _ in range(share):
                writer.write(request)
                answer = (await reader.readuntil(b"\r\n\r\n")).lower()
                if answer[9:10] != b"2":
                    raise RuntimeError(answer.decode())
                length = next(line for line in answer.split(b"\r\n") if line.startswith(b"content-length"))
                await reader.readexactly(int(length.split(b":")[1]))
            writer.close()

        shares = [number // connections + (each < number % connections) for each in range(connections)]
        await asyncio.gather(*(send(share) for share in shares))

    async def result(self, handle: Any) -> Any:
        """Wait for the answer."""
        answer = await handle
        answer.raise_for_status()
        return answer.json()

    async def send(self, handle: Any) -> None:
        """Call the workflow's handler."""
        (await self._http.post(self._at(f"{handle}/arrive"), json=1)).raise_for_status()

    async def finished(self) -> int:
        """Return all: who has marked its end has answered, and the server is asked nothing."""
        return _LARGEST

    def work(self, workload: str) -> None:
        """Serve until stopped."""
        asyncio.run(self._serve(workload))

    async def _serve(self, workload: str) -> None:
        config = Config()
        config.bind = [f"127.0.0.1:{_SERVICE}"]
        config.h2_max_concurrent_streams = config.keep_alive_max_requests = _LARGEST
        config.keep_alive_timeout = _LARGEST
        config.loglevel = "ERROR"
        serving = asyncio.ensure_future(serve(services(self._course, workload), config))
        while not await _listens(_SERVICE):
            await asyncio.sleep(0.02)
        say("ready")
        await serving


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


class RestateRace(Race):
    """What is otherwise where the server pushes."""

    subject: Restate

    async def worker(self, workload: str) -> Any:
        """Start the service and register it."""
        child = await super().worker(workload)
        await self.subject.register()
        return child

    async def w1(self, workload: str) -> Figures:
        """Start executions while the service runs."""
        number = executions(workload, self.sizes)
        async with await self.worker(workload) as child:
            await asyncio.sleep(1.0)
            spent = child.processor_time()
            await self.subject.start_many("order", STEPS, number)
            last = await child.mark("last", patience=_PATIENCE * 4)
            spent, took = child.processor_time() - spent, last.at - (await child.mark("first")).at
        return {"rate": STEPS * number / took, "cpu": spent / (STEPS * number) * 1e6}

    async def w6(self, workload: str) -> Figures:
        """Start executions while the service runs: a call needs one."""
        sizes = self.sizes
        async with await self.worker(workload):
            await asyncio.sleep(1.0)
            began = time.monotonic()
            await self.subject.pour("order", STEPS, sizes.single_starts, 1)
            single = time.monotonic() - began
            began = time.monotonic()
            await self.subject.start_many("order", STEPS, sizes.bulk_starts)
            bulk = time.monotonic() - began
        return {"single": sizes.single_starts / single, "bulk": sizes.bulk_starts / bulk}

    def workloads(self) -> dict[str, Callable[[str], Awaitable[Figures]]]:
        """Return what can be measured, by name."""
        return {**super().workloads(), "W1": self.w1}


if __name__ == "__main__":
    main(Restate, RestateRace)
