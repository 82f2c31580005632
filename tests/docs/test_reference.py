"""The reference is complete: every public name, every command with every option, every exit code."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import zart
import zart.testing
from tests.docs.overviews import with_overviews
from zart.cli.app import COMMANDS
from zart.cli.errors import Exit
from zart.cli.settings import Settings

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
TEXT = "\n".join(page.read_text() for page in sorted(REFERENCE.glob("*.md")))
CLI = (REFERENCE / "cli.md").read_text()
VARIANTS = {"StepOutcome", "Scheduler", "Inspector"}
"""Documented by the pages that need them, and not by a directive of their own."""


@pytest.mark.parametrize(
    "name", [f"zart.{name}" for name in zart.__all__] + [f"zart.testing.{name}" for name in zart.testing.__all__]
)
def test_every_public_name_is_in_the_reference(name):
    owner, _, short = name.rpartition(".")
    thing = getattr(importlib.import_module(owner), short)
    if getattr(thing, "__module__", "") == "zart.errors":
        return  # that page documents its module whole
    assert re.search(rf"^\.\. auto\w+:: {re.escape(name)}(\(\))?$", TEXT, re.MULTILINE) or (short in VARIANTS and short in TEXT)


@pytest.mark.parametrize("page", sorted(REFERENCE.glob("*.md")), ids=lambda page: page.stem)
def test_what_a_page_documents_can_be_read_without_building_it(page):
    text = page.read_text()
    assert text == with_overviews(text), "write it anew: python -m tests.docs.overviews"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented_with_every_option(command):
    name = "listing" if command == "list" else command
    function = getattr(importlib.import_module(f"zart.cli.commands.{name}"), name)
    section = re.search(rf"^### `zart {command}\b.*?(?=^##|\Z)", CLI, re.MULTILINE | re.DOTALL)
    assert section is not None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "settings":
            continue
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            shown = "ID" if parameter.name == "execution_id" else parameter.name.upper()
        else:
            shown = f"`--{parameter.name.replace('_', '-')}`"
        assert shown in section[0], f"zart {command} says nothing of {shown}"


def test_the_options_of_all_commands_are_documented():
    for name in inspect.signature(Settings).parameters:
        assert f"`--{name.replace('_', '-')}`" in CLI


def test_every_exit_code_is_documented_and_no_other():
    rows = {int(code) for code in re.findall(r"^\| (\d+) \|", CLI, re.MULTILINE)}
    assert rows == set(Exit)
