"""The command line as data: every command with its arguments and options, every error code, every variable.

From it come `zart schema` and the reference page.
"""

import inspect
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from attrs import frozen
from cyclopts import App

from zart.cli.app import COMMANDS, build, paragraphs
from zart.cli.errors import CODES, EXITS
from zart.cli.settings import VARIABLES

_MISSING = (None, inspect.Parameter.empty)


@frozen
class Taken:
    """An argument or option of a command.

    Attributes:
        names: what it is called: `--output` and `-o`, or TASK.
        type: what it takes: text, number, flag, or one of some words.
        meaning: what it does, in words.
        required: whether it must be given.
        default: what is taken when it is not given; None: it depends.
        choices: the words that it takes; empty: any.
        variables: from which environment variables it is taken when it is not given, the first that is set.
        repeatable: whether it may be given several times.
    """

    names: tuple[str, ...]
    type: str
    meaning: str
    required: bool
    default: Any
    choices: tuple[str, ...]
    variables: tuple[str, ...]
    repeatable: bool

    @property
    def is_option(self) -> bool:
        """Whether it is given by its name."""
        return self.names[0].startswith("-")


@frozen
class Command:
    """A command: what it does in a sentence, the rest of what there is to say, and what it takes."""

    name: str
    purpose: str
    details: str
    takes: tuple[Taken, ...]

    @property
    def usage(self) -> str:
        """How it is called."""
        places = (each.names[0] for each in self.takes if not each.is_option)
        return " ".join(("zart", self.name, *places))


def commands() -> Iterator[Command]:
    """Yield every command; each of them is imported."""
    program = build()
    for name, purpose in COMMANDS.items():
        found = program[name]
        yield Command(name, purpose, "\n\n".join(paragraphs(found.default_command)[1:]), tuple(_taken(found)))


def manual() -> Mapping[str, Any]:
    """Return the whole command line as what JSON can say."""
    return {
        "commands": [
            {
                "name": each.name,
                "usage": each.usage,
                "purpose": each.purpose,
                "details": each.details,
                "arguments": [_plain(taken) for taken in each.takes if not taken.is_option],
                "options": [_plain(taken) for taken in each.takes if taken.is_option],
            }
            for each in commands()
        ],
        "exit_codes": [{"exit": int(code), "meaning": meaning} for code, meaning in EXITS.items()],
        "error_codes": [
            {"code": code, "exit": int(leave), "meaning": meaning} for code, (leave, meaning) in sorted(CODES.items())
        ],
        "variables": [{"name": name, "meaning": meaning} for name, meaning in VARIABLES.items()],
    }


def _taken(command: App) -> Iterator[Taken]:
    for each in command.assemble_argument_collection(parse_docstring=True):
        if not each.show:  # a group of options, which follow one by one
            continue
        default = None if each.field_info.default in _MISSING else each.field_info.default
        choices = tuple(each.get_choices() or ())
        word, repeatable = _type(each.hint)
        yield Taken(
            tuple(each.names),
            word if not choices else "choice",
            " ".join((each.parameter.help or "").split()),
            each.required,
            default,
            choices,
            tuple(each.parameter.env_var or ()),
            repeatable,
        )


def _type(hint: Any) -> tuple[str, bool]:
    """Return what a type is called for people, and whether there may be several of it."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(each for each in get_args(hint) if each is not type(None))
    if get_origin(hint) is list:
        return _type(get_args(hint)[0])[0], True
    if get_origin(hint) is Literal:
        return "choice", False
    return {bool: "flag", int: "number", float: "number"}.get(hint, "text"), False


def _plain(taken: Taken) -> Mapping[str, Any]:
    return {
        "name": taken.names[0],
        "aliases": list(taken.names[1:]),
        "type": taken.type,
        "meaning": taken.meaning,
        "required": taken.required,
        "default": taken.default,
        "choices": list(taken.choices),
        "variables": list(taken.variables),
        "repeatable": taken.repeatable,
    }
