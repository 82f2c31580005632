"""The tool that makes mutants: each is one mistake, and words are left alone."""

import ast
from textwrap import dedent

import pytest

from tests.mutation.mutants import Mutant, mutants_of, mutated, probed
from tests.mutation.page import Count, figures
from tests.mutation.trials import Learned, stages


def changes(source: str) -> set[tuple[str, str]]:
    return {(mutant.before, mutant.after) for mutant in mutants_of("m", dedent(source))}


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("return a < b", {"return a <= b", "return a >= b", "return None"}),
        ("return a and b", {"return a or b", "return True and b", "return a and True", "return None"}),
        ("a.b = 1", {"pass", "a.b = 2"}),
        ("a = [x for x in b if x]", {"a = [x for x in b if True]", "a = [x for x in b if False]"}),
        ("a += 1", {"a -= 1", "a += 2", "pass"}),
        ("a = not b", {"a = b"}),
        ("a = min(b, True)", {"a = max(b, True)", "a = min(b, False)"}),
        ("raise ValueError('words' + 'words')", {"pass"}),
    ],
)
def test_what_becomes_of_a_line(line: str, instead: set[str]) -> None:
    source = f"def f(a, b):\n    {line}\n"
    assert changes(source) == {(line, each) for each in instead}


def test_conditions_are_fixed_and_loops_not_made_endless() -> None:
    found = changes("""
        def f(a):
            if a:
                pass
            while a:
                pass
            match a:
                case 1 if a:
                    pass
    """)
    assert {after for _, after in found} == {"if True:", "if False:", "while False:", "case 1 if True:", "case 1 if False:"}


def test_words_are_left_alone() -> None:
    assert not changes('''
        """Words."""
        import logging
        logger: logging.Logger = logging.getLogger("words")

        class C:
            """Words."""
            __slots__ = ("words",)

            def f(self, a: "words") -> "words":
                """Words."""
                logger.info("words %s", 1 + 1)
    ''')


def test_a_mutant_is_the_whole_module_with_one_mistake_and_the_same_lines() -> None:
    source = dedent("""
        def least(a, b):
            if a < b:
                return a
            return b
    """)
    (mutant,) = (each for each in mutants_of("m", source) if each.after == "if a >= b:")
    assert (mutant.function, mutant.line) == ("least", 3)
    assert mutant.key == "m least: if a < b:  ->  if a >= b:"
    names: dict[str, object] = {}
    exec(compile(mutated(source, mutant.number), "m", "exec"), names)
    assert names["least"](1, 2) == 2  # type: ignore[operator]
    returns = [node.lineno for node in ast.walk(mutated(source, mutant.number)) if isinstance(node, ast.Return)]
    assert sorted(returns) == [4, 5]


def test_a_probed_module_does_the_same_and_tells_its_lines() -> None:
    source = 'def f(a):\n    """Words."""\n    if a:\n        return 1\n    else:\n        return 2\n'
    lines: list[int] = []
    names: dict[str, object] = {"told": lines.append}
    exec(compile(probed(source, "told"), "m", "exec"), names)
    assert names["f"](0) == 2  # type: ignore[operator]
    assert lines == [1, 3, 6]
    assert names["f"].__doc__ == "Words."


def test_a_mutant_is_tried_by_the_tests_that_reach_it_the_fastest_first() -> None:
    reached = {"a::1": {"m.py": [3, 4]}, "a::2": {"m.py": [4]}, "b::1": {"n.py": [4]}, "b::2": {"m.py": [5]}}
    learned = Learned(reached, {"a::1": 0.2, "a::2": 0.1, "b::1": 0.0, "b::2": 0.3}, imported={"m.py": [1], "only.py": [1]})
    assert list(learned.tests_of("m.py", 4)) == ["a::2", "a::1"]
    assert list(learned.tests_of("m.py", 1)) == ["a::2", "a::1", "b::2"]  # while it is imported: concerns all
    assert list(learned.tests_of("m.py", 9)) == ["a::2", "a::1", "b::2"]  # reached by none
    assert list(learned.tests_of("only.py", 1)) == ["b::1", "a::2", "a::1", "b::2"]
    assert [list(stage) for stage in stages(learned.tests_of("m.py", 1))] == [["a::2", "a::1"], ["b::2"]]


def test_the_page_says_what_survived_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.mutation.page.reasons", lambda: {"m f: a  ->  b": "both are the same"})
    text = figures([Count("run", 20, 10, 8, 1)], {"run": ["m f: a  ->  b", "m f: c  ->  d"]}, "Of today.")
    assert "| run | 20 | 10 | 8 | 1 | 80.0 % |" in text
    assert "Both are the same:\n\n* m f: `` a `` becomes `` b ``" in text
    assert "No reason given yet: a test is missing:\n\n* m f: `` c `` becomes `` d ``" in text


def test_equal_mistakes_on_one_line_are_one() -> None:
    mutants = mutants_of("m", "def f(a):\n    return not a\n")
    assert len({(each.before, each.after) for each in mutants}) == len(mutants)
    assert all(isinstance(each, Mutant) for each in mutants)
