"""The command line: `zart`, for people and for agents.

What every command keeps: data on stdout and everything else on stderr, never a prompt, never a traceback, and exit codes that
mean the same everywhere (`zart.cli.errors`). Commands are imported when they are called, so that `zart --help` is quick.
"""

from zart.cli.app import main

__all__ = ["main"]
