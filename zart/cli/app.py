"""The program `zart`: its commands by name, and how each of them begins and ends."""

import asyncio
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib.metadata import version
from typing import Any, NoReturn

from cyclopts import App, CycloptsError, MissingArgumentError, UnknownCommandError, UnusedCliTokensError

from zart.cli.errors import Exit, Problem, complain, explain
from zart.cli.output import console
from zart.cli.settings import format_of

COMMANDS = {
    "migrate": "Bring the database's schema to this version.",
    "worker": "Run executions until stopped by SIGTERM or Ctrl-C.",
    "schedule": "Start an execution; repeating it is the same start.",
    "status": "Show an execution as it is now.",
    "event": "Send an event to an execution.",
    "wait": "Wait until an execution has ended, and show it.",
    "list": "List executions, newest first.",
    "cancel": "Cancel an execution.",
    "serve": "Serve the HTTP API until stopped by SIGTERM or Ctrl-C.",
    "mcp": "Answer an agent over standard input and output, in the Model Context Protocol, until it closes them.",
    "schema": "Describe every command, and every task with the JSON Schemas of its input and output.",
    "doctor": "Examine the database and the way to it, and say what to do about what is wrong.",
    "bench": "Measure this database for a few seconds, and say what the figures mean.",
    "demo": "Run a data pipeline, kill its worker, watch it finish.",
    "completion": "Print what makes a shell complete commands, options, and the words that options take.",
}
"""Name -> what it does; each is the function of its name in `zart.cli.commands.<name>`, and imported when it is called."""


def build(asked: str | None = None) -> App:
    """Return the program with all its commands; the one that is asked for is to explain itself at length."""
    app = App(
        name="zart",
        help="Durable execution for Python: every step's result is saved in the database you already run.",
        version=lambda: version("zart-durable"),
        help_format="plaintext",
        console=console(sys.stdout),
        error_console=console(sys.stderr),
    )
    for place, (name, purpose) in enumerate(COMMANDS.items()):
        module = "listing" if name == "list" else name
        app.command(f"zart.cli.commands.{module}:{module}", name=name, help=purpose, sort_key=place)
    if asked in COMMANDS:
        app[asked].help = "\n\n".join(paragraphs(app[asked].default_command))
    return app


def paragraphs(command: Callable[..., Any] | None) -> list[str]:
    """Return what a command's docstring says before it comes to parameters, each paragraph in one line."""
    text = (inspect.getdoc(command) or "").partition("Args:\n")[0]
    return [" ".join(each.split()) for each in text.strip().split("\n\n")]


def run(tokens: Sequence[str]) -> int:
    """Carry out a command line and return its exit code; whatever happens is told on stderr, never as a traceback."""
    as_json = format_of(tokens) != "table"
    try:
        result = _call(tokens)
        sys.stdout.flush()
    except CycloptsError as error:
        complain(_usage(error), as_json=as_json)
        return Exit.USAGE
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        return Exit.DONE  # whoever read us has read enough
    except Exception as error:  # noqa: BLE001 # never a traceback
        problem = explain(error)
        complain(problem, as_json=as_json)
        return problem.exit
    finally:
        _silence()
    return result if isinstance(result, int) else Exit.DONE


def _silence() -> None:
    """Let a stream that takes no more go nowhere: what is still buffered must not fail again while Python shuts down."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _call(tokens: Sequence[str]) -> Any:
    program = build(next(iter(tokens), None))
    command, bound, _ = program.parse_args(tokens, print_error=False, exit_on_error=False, help_on_error=False)
    result = command(*bound.args, **bound.kwargs)
    return asyncio.run(result) if inspect.iscoroutine(result) else result


def _usage(error: CycloptsError) -> Problem:
    if isinstance(error, UnknownCommandError):
        # Said here, not by the error: it would import every command to look for what was meant.
        asked = (error.unused_tokens or [""])[0]
        if asked.startswith("-"):
            hint = "options come after it: zart list --json"
            return Problem("usage", f"the option {asked!r} stands before the command", hint, Exit.USAGE)
        near = get_close_matches(asked, COMMANDS, 1)
        hint = f"did you mean `zart {near[0]}`?" if near else "see `zart --help`"
        return Problem("usage", f"there is no command {asked!r}", hint, Exit.USAGE)
    chain = " ".join(("zart", *(error.command_chain or ())))
    if isinstance(error, UnusedCliTokensError):
        rest = " ".join(map(repr, error.unused_tokens or ()))
        hint = f"see `{chain} --help`; a value with spaces needs quotes, and data goes into --data"
        return Problem("usage", f"`{chain}` has no place for {rest}", hint, Exit.USAGE)
    if isinstance(error, MissingArgumentError) and error.argument is not None and error.command_chain:
        name = error.argument.name
        if name.startswith("-"):
            return Problem("usage", f"`{chain}` lacks a value after {name}", f"see `{chain} --help`", Exit.USAGE)
        takes = build()[error.command_chain[0]].assemble_argument_collection()
        places = " ".join(each.name for each in takes if each.show and not each.name.startswith("-"))
        return Problem(
            "usage", f"`{chain}` lacks its {name}", f"write `{chain} {places}`, and see `{chain} --help`", Exit.USAGE
        )
    return Problem("usage", " ".join(str(error).split()).rstrip("."), f"see `{chain} --help`", Exit.USAGE)


def _fill_streams() -> None:
    """Put nothing in the place of the standard streams that were closed: else the database's file could get their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8"))


def main() -> NoReturn:
    """Run the command line of this process."""
    _fill_streams()
    sys.exit(run(sys.argv[1:]))
