from pathlib import Path

import pytest

from zart.cli.errors import Exit, Refused
from zart.cli.handlers import registry_of


@pytest.mark.parametrize(
    ("name", "tasks"),
    [
        ("registry", {"data-pipeline", "once", "echo", "hostile", "failing", "unlucky"}),
        ("single", {"echo"}),
        ("several", {"echo", "failing"}),
        ("factory", {"data-pipeline", "once", "echo", "hostile", "failing", "unlucky"}),
    ],
)
def test_what_an_app_may_be(name: str, tasks: set[str]) -> None:
    assert {task.name for task in registry_of(f"tests.cli.flows:{name}")} == tasks


@pytest.mark.parametrize(
    ("app", "said", "mend"),
    [
        (None, "no handlers are named", "write --app"),
        ("tests.cli.flows", "does not say which module and which name", "write --app tests.cli:flows"),
        (":registry", "does not say", "registry:name"),
        ("tests.cli.nowhere:registry", "there is no module 'tests.cli.nowhere'", "can be imported from"),
        ("nowhere.at.all:registry", "there is no module", "can be imported from"),
        ("tests.cli.flows:absent", "has no 'absent'", "it has tests.cli.flows:nothing"),
        ("tests.cli.flows:number", "is of type int", "name a Registry"),
        ("tests.cli.flows:Echo", "is a handler's class, not a handler", "name an instance, Echo(), or a Registry"),
        ("tests.cli.flows:Dataset", "is the class Dataset", "name a Registry"),
        ("tests.cli.flows:classes", "'tests.cli.flows:classes' holds the class Failing", "put an instance there, Failing()"),
        ("tests.cli.flows:strangers", "'echo' is no handler", "subclass TaskHandler"),
        ("tests.cli.flows:charge", "is a step, which only a handler can run", "it has tests.cli.flows:nothing"),
        ("tests.cli.flows:undecorated", "is an async function and no handler", "make it one with @zart_durable"),
        ("tests.cli.flows:ESCAPES", "is of type str", "name a Registry"),
        ("tests.cli.flows:broken", "was called and failed: RuntimeError: no registry today", "without arguments"),
        ("tests.cli.flows:twice", "registered already", "give one of the two another name"),
        ("tests.cli.flows:nothing", "holds no handler", "register at least one"),
    ],
)
def test_a_wrong_app_is_bad_configuration_and_says_why(app: str | None, said: str, mend: str) -> None:
    with pytest.raises(Refused) as refused:
        registry_of(app)
    problem = refused.value.problem
    assert (problem.exit, problem.code) == (Exit.CONFIGURATION, "bad_app")
    assert said in problem.message
    assert mend in problem.hint


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import not_installed_at_all", "cannot be imported: No module named 'not_installed_at_all'"),
        ("raise SystemExit(0)", "cannot be imported: SystemExit: 0"),
        ("1 +", "cannot be imported: SyntaxError"),
    ],
)
def test_a_module_that_fails_says_why(source: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"failing_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Refused, match=said):
        registry_of(f"{name}:registry")


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("\n\nundefined", "{name}.py, line 3"),
        ("import json\n\njson.loads('{')", "{name}.py, line 3"),
        ("from zart import Registry\nregistry = Registry([7])", "{name}.py, line 2"),
        ("import neighbour", "neighbour.py, line 2"),
        ("import not_installed_at_all", "{name}.py, line 1"),
        ("import installed", "{name}.py, line 1"),
        ("def registry():\n    return undefined", "{name}.py, line 2"),
    ],
)
def test_where_it_fails_is_told_by_the_deepest_line_that_the_user_wrote(
    source: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"placed_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    (tmp_path / "neighbour.py").write_text("\n1 / 0")
    library = tmp_path / "site-packages"
    library.mkdir()
    (library / "installed.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(library))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Refused) as refused:
        registry_of(f"{name}:registry")
    assert refused.value.problem.message.endswith(f" ({place.format(name=name)})")


def test_where_something_installed_fails_is_told_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "site-packages"
    library.mkdir()
    (library / "whole.py").write_text("\nimport whole_deeper")
    (library / "whole_deeper.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(str(library))
    with pytest.raises(Refused) as refused:
        registry_of("whole:registry")
    assert refused.value.problem.message.endswith(f"division by zero ({library / 'whole.py'}, line 2)")


def test_a_line_that_is_not_python_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "unreadable.py").write_text("\n1 +")
    (tmp_path / "reader.py").write_text("import unreadable")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Refused) as refused:
        registry_of("reader:registry")
    assert refused.value.problem.message.endswith("(unreadable.py, line 2)")


def test_the_current_directory_can_be_imported_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", ["/nowhere", *__import__("sys").path])
    (tmp_path / "flows_of_this_folder.py").write_text("from tests.cli.flows import registry\n")
    monkeypatch.chdir(tmp_path)
    assert "echo" in registry_of("flows_of_this_folder:registry")
