"""`zart completion`."""

import sys
from typing import Literal

from zart.cli.app import build
from zart.cli.output import put_record
from zart.cli.settings import DEFAULTS, OutputSettings

Shell = Literal["bash", "zsh", "fish", "powershell"]


def completion(
    shell: Shell,
    /,
    *,
    settings: OutputSettings = DEFAULTS,
) -> None:
    """Print what makes a shell complete commands, options, and the words that options take.

    It is a script on stdout; only with --json or -o does it stand in a JSON object, as `script`. For bash: `eval "$(zart
    completion bash)"`, or keep it where the shell looks for such scripts. It belongs to this version of Zart: print it
    again after an update.

    Args:
        shell: Which one.
        settings: How to print.
    """
    script = build().generate_completion(prog_name="zart", shell=shell)
    if settings.json or settings.output in {"json", "jsonl"}:
        put_record({"shell": shell, "script": script}, settings.format)
    else:
        sys.stdout.write(script)
