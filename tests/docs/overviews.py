"""The overview tables of the reference: what a page's directives show only when it is built, in lines that are read anywhere.

`python -m tests.docs.overviews` writes the tables anew; `test_reference.py` sees that they are as it would write them.
"""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

from attrs import frozen

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
HEAD = "| name | what it is |\n|---|---|\n"
BLOCK = re.compile(r"^```\{eval-rst\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DIRECTIVE = re.compile(r"^\.\. auto(class|exception|function|module|data):: ([\w.]+)(?:\(\))?\n((?:   :.*\n)*)", re.MULTILINE)
TABLE = re.compile(rf"^{re.escape(HEAD)}(?:\|.*\n)+\n(?:```text\n[^`]*```\n\n)?", re.MULTILINE)
SIGNED = {"zart.zart_durable", "zart.zart_step", "zart.TaskHandler", "zart.TaskContext", "zart.RetryConfig"}
"""What is shown with its options and their defaults as well: what every workflow is written with."""


@frozen
class Row:
    name: str
    thing: object

    def __str__(self) -> str:
        owner = inspect.unwrap(self.thing) if callable(self.thing) else self.thing
        link = f"[`{self.name}`](../../{Path(inspect.getsourcefile(owner)).relative_to(ROOT)})"
        told = [*attributes(self.thing), *((name, sentence(member)) for name, member in self.members())]
        short = self.name.rsplit(".", 1)[-1]
        return f"| {link} | {sentence(self.thing)} |\n" + "".join(f"| `{short}.{name}` | {text} |\n" for name, text in told)

    def members(self) -> Iterator[tuple[str, object]]:
        yield from ()

    def signatures(self) -> str:
        """Return how it is called, and its members are, a line each; without types, which would fill a page."""
        if self.name not in SIGNED:
            return ""
        short = self.name.rsplit(".", 1)[-1]
        lines = [
            f"{short}.{name} = {vars(self.thing)[name]!r}" for name, _ in attributes(self.thing) if name in vars(self.thing)
        ]
        if short not in ("TaskHandler", "TaskContext"):  # nobody makes these
            lines.append(called(short, self.thing))
        lines += [called(f"{short}.{name}", member) for name, member in self.members() if callable(member)]
        return "".join(f"{line}\n" for line in lines)


@frozen
class ClassRow(Row):
    only: list[str] | None
    """Which members the directive names; None for all."""

    def members(self) -> Iterator[tuple[str, object]]:
        # A directive shows what is inherited only where it is named.
        names = [name for name in vars(self.thing) if not name.startswith("_")] if self.only is None else self.only
        for name in names:
            member = inspect.getattr_static(self.thing, name, None)
            # Other attributes have no docstring to quote.
            if isinstance(member, FunctionType | classmethod | staticmethod | property):
                yield name, getattr(self.thing, name)


@frozen
class DataRow(Row):
    """A value, which has no docstring: its line is the one in the source below it."""

    def __str__(self) -> str:
        module, _, name = self.name.rpartition(".")
        source = Path(inspect.getsourcefile(importlib.import_module(module)))
        return f"| `{self.name}` | {sentence_below(name, source.parent)} |\n"


def called(name: str, fn: object) -> str:
    bare = inspect.Parameter.empty
    parameters = [each.replace(annotation=bare) for each in inspect.signature(fn).parameters.values() if each.name != "self"]
    signature = inspect.Signature(parameters)
    return f"{'await ' if inspect.iscoroutinefunction(fn) else ''}{name}{signature}"


def sentence(thing: object) -> str:
    """Return the first sentence of a docstring."""
    text = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    first = re.match(r"(.*?[.:;])(?= |$)(?<!e\.g\.)", text)
    return (first[1] if first and first[1].endswith(".") else text.rstrip(".:") + ".").replace("``", "`").replace("|", "\\|")


def attributes(thing: object) -> Iterator[tuple[str, str]]:
    """Yield the attributes that a class tells of in its docstring, with what it says."""
    section = re.search(r"^Attributes:\n((?:    .*\n?)+)", inspect.getdoc(thing) or "", re.MULTILINE)
    if inspect.isclass(thing) and section:
        for name, text in re.findall(r"^    (\w+): (.*\n?(?:     .*\n?)*)", section[1], re.MULTILINE):
            line = " ".join(text.split()).rstrip(".").replace("``", "`").replace("|", "\\|")
            yield name, f"{line[0].upper()}{line[1:]}."


def sentence_below(name: str, folder: Path) -> str:
    texts = "\n".join(each.read_text() for each in sorted(folder.glob("*.py")))
    found = re.search(rf'^{name}\b.*\n"""(.*?)"""', texts, re.MULTILINE | re.DOTALL)
    return " ".join(found[1].split()) if found else ""


def listed(names: str) -> list[str] | None:
    return [each.strip() for each in names.split(",")] if names.strip() else None


def rows(block: str) -> Iterator[Row]:
    """Yield what the directives of a block document."""
    for kind, name, options in DIRECTIVE.findall(block):
        members = re.search(r":members:(.*)", options)
        if kind == "module":
            module = importlib.import_module(name)
            only = listed(members[1])
            for short, thing in vars(module).items():
                public = not short.startswith("_") and getattr(thing, "__module__", "") == name and inspect.getdoc(thing)
                if public and inspect.isclass(thing) and (only is None or short in only):
                    yield Row(f"{name}.{short}", thing) if name == "zart.errors" else ClassRow(f"{name}.{short}", thing, None)
            continue
        owner, _, short = name.rpartition(".")
        thing = getattr(importlib.import_module(owner), short)
        if kind == "data":
            yield DataRow(name, thing)
        elif inspect.isclass(thing) and members is not None:
            yield ClassRow(name, thing, listed(members[1]))
        else:
            yield Row(name, thing)


def with_overviews(text: str) -> str:
    """Return a page with the overview of each of its sections before the section's first directive."""
    parts = re.split(r"(?m)^(?=## )", TABLE.sub("", text))
    return "".join(_with_overview(part) for part in parts)


def _with_overview(section: str) -> str:
    blocks = list(BLOCK.finditer(section))
    shown = [row for block in blocks for row in rows(block[1])]
    if not shown:
        return section
    at = blocks[0].start()
    signatures = "".join(row.signatures() for row in shown)
    fence = f"```text\n{signatures}```\n\n" if signatures else ""
    return f"{section[:at]}{HEAD}{''.join(map(str, shown))}\n{fence}{section[at:]}"


if __name__ == "__main__":
    for page in sorted(REFERENCE.glob("*.md")):
        page.write_text(with_overviews(page.read_text()))
