"""The pages on telemetry and deployment say what is there, and what they tell others to run can be run."""

import re
import shlex
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

import zart.http
import zart.mcp
import zart.telemetry
from zart import WorkerConfig
from zart.cli.app import COMMANDS, build
from zart.http.server import ConnectionLimits
from zart.telemetry import reference
from zart.telemetry.logs import FIELDS
from zart.telemetry.metrics import METRICS
from zart.telemetry.probes import PATHS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "metrics.md").read_text()
HOW_TO = (ROOT / "docs" / "how-to" / "telemetry.md").read_text()
DEPLOY = (ROOT / "docs" / "how-to" / "deploy.md").read_text()
LEAVES_WITHIN = WorkerConfig().shutdown_timeout.total_seconds() + 2


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DEPLOY, re.MULTILINE | re.DOTALL)


def containers() -> list[tuple[dict, dict]]:
    """Return the pods of all manifests, each with its container."""
    found = []
    for text in blocks("yaml"):
        for manifest in yaml.safe_load_all(text):
            pod = manifest.get("spec", {}).get("template", {}).get("spec")
            if pod is not None:
                found += [(pod, container) for container in pod["containers"]]
    return found


def test_the_page_is_that_of_the_table():
    _, heading, table = PAGE.partition(reference.HEADING)
    assert heading
    assert table == reference.reference(), "write it anew: python -m zart.telemetry.reference docs/reference/metrics.md"


def test_the_page_is_written_under_its_heading(tmp_path):
    page = tmp_path / "metrics.md"
    page.write_text(f"by hand\n\n{reference.HEADING}old")
    reference.main([str(page)])
    assert page.read_text() == f"by hand\n\n{reference.HEADING}{reference.reference()}"


def test_every_logger_and_field_is_documented():
    sources = "\n".join(path.read_text() for path in (ROOT / "zart").rglob("*.py"))
    loggers = set(re.findall(r'logger: logging\.Logger = logging\.getLogger\("(zart\.[\w.]+)"\)', sources))
    assert len(loggers) > 5
    assert {name for name in loggers if f"`{name}`" not in PAGE} == set()
    assert all(f"`{name}`" in PAGE for name in FIELDS)


@pytest.mark.parametrize("module", [zart.http, zart.mcp, zart.telemetry], ids=lambda module: module.__name__)
def test_every_public_name_is_documented(module):
    pages = "\n".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    missing = [name for name in module.__all__ if not re.search(rf":: {re.escape(module.__name__)}\.{name}\b", pages)]
    assert not missing


def test_every_attribute_of_a_span_is_documented():
    source = (ROOT / "zart" / "telemetry" / "traces.py").read_text()
    attributes = set(re.findall(r'"(zart\.[a-z_]+)"', source)) - {"zart.telemetry"}
    assert len(attributes) > 5
    assert {name for name in attributes if f"`{name}`" not in PAGE} == set()


def test_what_is_told_of_metrics_is_there():
    names = {each.name for each in METRICS}
    spoken_of = set(re.findall(r"\b(zart_[a-z_]+)\b", HOW_TO + DEPLOY)) - {"zart_step", "zart_durable"}
    assert spoken_of <= names


# ---- deployment -----------------------------------------------------------------------------------------------------


def commands() -> list[list[str]]:
    """Return every command line of zart that the page has others run."""
    units = [each for text in blocks("ini") for each in re.findall(r"^ExecStart=\S*/zart (.*)$", text, re.MULTILINE)]
    return [*map(shlex.split, units), *(container["args"] for _, container in containers())]


@pytest.mark.parametrize("tokens", commands(), ids=" ".join)
def test_every_command_line_is_one(tokens, monkeypatch):
    monkeypatch.setenv("ZART_APP", "shop:registry")
    assert tokens[0] in COMMANDS
    build().parse_args(tokens, print_error=False, exit_on_error=False, help_on_error=False)


def test_whatever_stops_a_process_gives_it_its_time():
    serves = ConnectionLimits().stop_time
    for pod, container in containers():
        if container["args"][0] == "worker":
            assert pod["terminationGracePeriodSeconds"] > LEAVES_WITHIN
        if container["args"][0] == "serve":
            assert pod["terminationGracePeriodSeconds"] > serves
    for text in blocks("ini"):
        unit = ConfigParser(interpolation=None, strict=False)
        unit.optionxform = str
        unit.read_string(text)
        least = LEAVES_WITHIN if "zart worker" in text else serves
        assert int(unit["Service"]["TimeoutStopSec"]) > least
        assert unit["Service"]["Restart"] == "always"


def test_every_probe_asks_where_something_answers():
    probed = [container for _, container in containers() if container["args"][0] in {"worker", "serve"}]
    assert len(probed) == 2
    for container in probed:
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        for kind in ("readinessProbe", "livenessProbe"):
            asks = container[kind]["httpGet"]
            assert asks["path"] in PATHS
            assert str(ports[asks["port"]]) in " ".join(container["args"])
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
