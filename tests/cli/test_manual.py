"""What is said of the command line: `zart schema`, the reference page, completion. Nothing goes undocumented."""

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import APP, ROOT, Zart
from zart.cli.app import COMMANDS
from zart.cli.errors import CODES, EXITS, Exit, Problem
from zart.cli.manual import commands
from zart.cli.reference import HEADING, main, reference
from zart.cli.settings import VARIABLES

PAGE = ROOT / "docs" / "reference" / "cli.md"
SOURCES = [path for folder in ("cli", "http", "mcp", "telemetry") for path in sorted((ROOT / "zart" / folder).rglob("*.py"))]


def test_the_reference_says_what_the_commands_say() -> None:
    assert PAGE.read_text() == PAGE.read_text().partition(HEADING)[0] + HEADING + reference(), (
        "run: python -m zart.cli.reference docs/reference/cli.md"
    )


def test_the_reference_is_written_under_its_heading(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"by hand\n\n{HEADING}old\n")
    main([str(page)])
    assert page.read_text() == f"by hand\n\n{HEADING}{reference()}"


def test_every_command_and_whatever_it_takes_says_what_it_is_for() -> None:
    found = list(commands())
    assert [each.name for each in found] == list(COMMANDS)
    for command in found:
        assert command.purpose.endswith(".")
        for taken in command.takes:
            assert taken.meaning, f"{command.usage} does not say what {taken.names[0]} is for"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_the_same_of_itself_in_every_list_and_in_its_own_help(zart: Zart, name: str) -> None:
    first = " ".join(zart(name, "--help").out.split("\n\n")[1].split())
    assert first == COMMANDS[name]


def test_options_that_are_explained_once_are_explained() -> None:
    by_hand = PAGE.read_text().partition(HEADING)[0]
    for option in ("--output", "-o", "--json", "--database-url", "--server"):
        assert f"`{option}`" in by_hand


def strings() -> Iterator[str]:
    """Yield every text in the sources that is no docstring."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_variable_that_is_read_is_documented() -> None:
    read = {text for text in strings() if re.fullmatch(r"ZART_[A-Z_]+|DATABASE_URL|NO_COLOR", text)}
    assert {"ZART_DATABASE_URL", "ZART_APP"} <= read
    assert read == set(VARIABLES)


def raised() -> Iterator[str]:
    """Yield every error code that the command line names."""
    for path in (ROOT / "zart" / "cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"Refused", "Problem"}:
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    yield str(first.value)


def test_every_error_code_is_known_and_says_what_it_means() -> None:
    assert set(raised()) <= set(CODES)
    assert len(set(raised())) > 10
    for code, (leave, meaning) in CODES.items():
        assert meaning, f"{code} needs a line in zart.cli.errors"
        assert leave in EXITS
    with pytest.raises(LookupError, match="no error code"):
        Problem("unheard_of", "", "", Exit.FAILED)
    assert set(EXITS) == set(Exit)


# ---- zart schema --------------------------------------------------------------------------------------------------------


def test_a_program_learns_everything_from_one_command(zart: Zart) -> None:
    found = zart("schema", "--app", APP).data
    assert [each["name"] for each in found["commands"]] == list(COMMANDS)
    (wait,) = [each for each in found["commands"] if each["name"] == "wait"]
    assert wait["usage"] == "zart wait EXECUTION_ID"
    assert [each["name"] for each in wait["arguments"]] == ["EXECUTION_ID"]
    timeout = next(each for each in wait["options"] if each["name"] == "--timeout")
    assert (timeout["default"], timeout["required"], timeout["type"]) == ("1h", False, "text")
    output = next(each for each in wait["options"] if each["name"] == "--output")
    assert (output["aliases"], output["choices"], output["variables"]) == (["-o"], ["table", "json", "jsonl"], ["ZART_OUTPUT"])
    queue = next(each for each in found["commands"][1]["options"] if each["name"] == "--queue")
    assert queue["repeatable"] is True
    assert {each["exit"] for each in found["exit_codes"]} == set(Exit)
    assert {each["code"] for each in found["error_codes"]} == set(CODES)
    assert {each["name"] for each in found["variables"]} == set(VARIABLES)
    tasks = {each["name"]: each for each in found["tasks"]}
    assert "dataset" in str(tasks["data-pipeline"]["input"])
    assert "rows_written" in str(tasks["data-pipeline"]["output"])


def test_without_handlers_there_are_no_tasks_and_no_database_is_made(zart: Zart, tmp_path: Path) -> None:
    assert zart("schema").data["tasks"] == []
    assert list(tmp_path.iterdir()) == []
    assert zart("schema", "--app", "nowhere:x").problem["code"] == "bad_app"


def test_a_person_gets_a_table_of_commands_and_tasks(zart: Zart) -> None:
    shown = zart("schema", "--app", APP, "-o", "table").out
    assert "zart wait EXECUTION_ID" in shown
    assert re.search(r"data-pipeline +default +dataset +rows_written", shown)


def test_a_command_explains_itself_at_length(zart: Zart) -> None:
    shown = zart("event", "--help").out
    assert "To an execution that has ended nothing is sent" in " ".join(shown.split())


# ---- completion ---------------------------------------------------------------------------------------------------------


def completed(zart: Zart, *words: str) -> list[str]:
    """Return what bash offers for the last of these words, by the script that it is given."""
    quoted = " ".join(f"'{word}'" for word in words)
    asked = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _zart; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    script = f"{zart('completion', 'bash').out}\n{asked}\n"
    done = subprocess.run(["bash", "--norc"], input=script, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_options_and_words(zart: Zart) -> None:
    assert set(completed(zart, "zart", "")) >= set(COMMANDS)
    assert set(completed(zart, "zart", "sch")) == {"schedule", "schema"}
    assert "--snapshot-age" in completed(zart, "zart", "doctor", "--")
    assert completed(zart, "zart", "list", "--status", "wai") == ["waiting"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_each_shell_gets_a_script_with_every_command(zart: Zart, shell: str) -> None:
    answer = zart("completion", shell)
    assert (answer.exit, answer.err) == (Exit.DONE, "")
    assert all(command in answer.out for command in COMMANDS)
    assert zart("completion", shell, "--json").data == {"shell": shell, "script": answer.out}
    if shutil.which(shell) is not None and shell in {"bash", "zsh"}:
        subprocess.run([shell, "-n"], input=answer.out, check=True, capture_output=True, text=True)


def test_another_shell_is_a_wrong_command_line(zart: Zart) -> None:
    assert zart("completion", "tcsh").exit == Exit.USAGE
