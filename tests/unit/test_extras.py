"""Whoever has not installed an extra is told which, and only when he asks for what needs it."""

import subprocess
import sys

import pytest

WITHOUT = "import sys; sys.modules.update(dict.fromkeys({absent!r})); "


def asked(absent, code):
    """Return what is said by a process that does not have some libraries."""
    command = [sys.executable, "-c", WITHOUT.format(absent=absent) + code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("absent", "module", "name", "extra"),
    [
        (["anyio"], "zart.http", "asgi", "server"),
        (["starlette"], "zart.http", "Api", "server"),
        (["sse_starlette"], "zart.http", "lifespan", "server"),
        (["prometheus_client"], "zart.telemetry", "Metrics", "metrics"),
        (["opentelemetry"], "zart.telemetry", "Traces", "otel"),
        (["opentelemetry", "prometheus_client"], "zart.telemetry", "Metrics", "metrics"),
    ],
)
def test_what_needs_an_extra_names_it(absent, module, name, extra):
    told = asked(absent, f"from {module} import {name}").stderr
    assert told.splitlines()[-1] == (
        f"ModuleNotFoundError: {module}.{name} needs the extra {extra!r}; pip install 'zart-durable[{extra}]'"
    )


def test_the_rest_is_there_all_the_same():
    answer = asked(["opentelemetry", "prometheus_client"], "from zart.telemetry import Health; print(Health.__name__)")
    assert (answer.stdout, answer.stderr) == ("Health\n", "")


@pytest.mark.parametrize(("absent", "module"), [(["anyio"], "zart.http"), (["opentelemetry"], "zart.telemetry")])
def test_a_name_that_is_nowhere_is_no_matter_of_extras(absent, module):
    told = asked(absent, f"import {module}; {module}.asgo").stderr
    assert told.splitlines()[-1] == f"AttributeError: module {module!r} has no attribute 'asgo'"
