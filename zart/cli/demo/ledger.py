"""What really ran: a file to which every step function appends one line when it starts.

It is kept beside Zart's own records on purpose: the demo compares the two.
"""

import json
import os
from collections import Counter
from pathlib import Path

NAME = "ledger.jsonl"


def enter(folder: str, step: str) -> None:
    """Append a line that says that a step's function has started in this process."""
    line = json.dumps({"step": step, "pid": os.getpid()}) + "\n"
    # One write to a file opened for appending: lines of several threads and processes do not mix.
    file = os.open(Path(folder) / NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def starts(folder: Path) -> Counter[str]:
    """Return how often each step's function has started."""
    try:
        lines = (folder / NAME).read_text("utf-8").splitlines()
    except FileNotFoundError:
        return Counter()
    return Counter(json.loads(line)["step"] for line in lines)
