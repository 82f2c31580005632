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
    ("app", "said"),
    [
        (None, "no handlers are named"),
        ("tests.cli.flows", "does not say which module and which name"),
        (":registry", "does not say"),
        ("tests.cli.nowhere:registry", "there is no module 'tests.cli.nowhere'"),
        ("nowhere.at.all:registry", "there is no module"),
        ("tests.cli.flows:absent", "has no 'absent'"),
        ("tests.cli.flows:number", "is of type int"),
        ("tests.cli.flows:Echo", "is of type ABCMeta"),
        ("tests.cli.flows:ESCAPES", "is of type str"),
        ("tests.cli.flows:broken", "was called and failed: RuntimeError: no registry today"),
        ("tests.cli.flows:twice", "registered already"),
        ("tests.cli.flows:nothing", "holds no handler"),
    ],
)
def test_a_wrong_app_is_bad_configuration_and_says_why(app: str | None, said: str) -> None:
    with pytest.raises(Refused, match=said) as refused:
        registry_of(app)
    assert refused.value.problem.exit == Exit.CONFIGURATION
    assert refused.value.problem.code == "bad_app"
    assert refused.value.problem.hint


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


def test_the_current_directory_can_be_imported_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", ["/nowhere", *__import__("sys").path])
    (tmp_path / "flows_of_this_folder.py").write_text("from tests.cli.flows import registry\n")
    monkeypatch.chdir(tmp_path)
    assert "echo" in registry_of("flows_of_this_folder:registry")
