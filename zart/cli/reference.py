"""The reference of the command line in Markdown, made from the commands themselves.

`python -m zart.cli.reference docs/reference/cli.md` writes it into the documentation, where a change of the commands shows as a
change of the page.
"""

import sys
from collections.abc import Iterator, Sequence

from zart.cli.errors import CODES, EXITS
from zart.cli.manual import Command, Taken, commands
from zart.cli.settings import VARIABLES
from zart.markdown import cells, write_under

HEADING = "## Commands\n\n"
"""What stands under it in the page is made; what stands above is written by hand."""
_SHARED = frozenset({"--output", "--json", "--database-url", "--server"})
"""Options that the page explains once, for all commands."""


def reference() -> str:
    """Return the reference in Markdown: every command with all that it takes, variables, error codes and exit codes."""
    parts = [line for command in commands() for line in _command(command)]
    return "\n".join([*parts, *_variables(), *_codes()]) + "\n"


def _command(command: Command) -> Iterator[str]:
    yield from (f"### `{command.usage}`", "", command.purpose, "")
    if command.details:
        yield from (command.details, "")
    shared = [f"`{each.names[0]}`" for each in command.takes if each.names[0] in _SHARED]
    own = [each for each in command.takes if each.names[0] not in _SHARED]
    if own:
        yield from ("| argument or option | takes | meaning |", "|---|---|---|", *map(_row, own), "")
    if shared:
        yield from (f"And {', '.join(shared)}, see [above](#options-of-every-command).", "")


def _row(taken: Taken) -> str:
    names = ", ".join(f"`{name}`" for name in taken.names)
    takes = " ".join(f"`{each}`" for each in taken.choices) or ("" if taken.type == "flag" else taken.type)
    said = [taken.meaning.rstrip(".")]
    if taken.variables:
        said.append(f"variable {', '.join(f'`{name}`' for name in taken.variables)}")
    if taken.default not in (None, False):
        said.append(f"default `{taken.default}`")
    if taken.required and taken.is_option:
        said.append("required")
    return cells(names, takes, "; ".join(said))


def _variables() -> Iterator[str]:
    yield from ("## Variables", "", "| variable | meaning |", "|---|---|")
    yield from (cells(f"`{name}`", meaning) for name, meaning in VARIABLES.items())
    yield ""


def _codes() -> Iterator[str]:
    yield from ("## Exit codes", "", "| exit code | meaning |", "|---|---|")
    yield from (cells(str(int(code)), meaning) for code, meaning in EXITS.items())
    yield from ("", "## Error codes", "", "| code | exit code | meaning |", "|---|---|---|")
    yield from (cells(f"`{code}`", str(int(leave)), meaning) for code, (leave, meaning) in sorted(CODES.items()))


def main(arguments: Sequence[str]) -> None:
    """Write the reference into pages of the documentation, under their heading `Commands`."""
    write_under(HEADING, reference(), arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
