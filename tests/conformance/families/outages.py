"""The database restarts, fails over, or its disk is full: time is lost, and nothing else."""

from tests.conformance.ladder import LINES, OUTPUT, ladder
from tests.conformance.language import AtOnce, Completed, Down, Event, Reopen, Sees, Start, family

FAMILY = "the database restarts, fails over, or is full"
scenario, inapplicable = family(FAMILY)

GONE = {"memory": "what is in memory ends with its process"}

scenario(
    "J-1",
    "every connection is lost while it waits",
    story=[Reopen(), Sees("waiting", ("pause",)), Reopen()],
    expect=LINES,
    end=Completed(OUTPUT),
    effects=[1, 2],
    not_on=GONE,
)(ladder)

for number, (kinds, calls, what) in enumerate(
    (
        (("commit",), 1, "one save is refused"),
        (("commit",), 12, "saves are refused for longer than a lease, as when the disk is full"),
        (("claim",), 5, "claims are refused"),
        (("beat",), 5, "signs of life are refused"),
        (("commit", "claim", "beat"), 6, "everything is refused, as while it restarts"),
    ),
    2,
):
    scenario(
        f"J-{number}",
        f"{what}: the same comes of it, later",
        story=[AtOnce((Down(calls, kinds), Start()))],
        expect=LINES,
        end=Completed(OUTPUT),
    )(ladder)

scenario(
    "J-7",
    "a start is refused: said again, it is one start",
    story=[AtOnce((Down(1, ("start",)), Start()))],
    expect=LINES,
    end=Completed(OUTPUT),
    effects=[1, 2],
)(ladder)

scenario(
    "J-8",
    "while nothing can be written, what was written can be read",
    story=[Down(1, ("deliver",)), Event("go", answer="StorageUnavailable"), Sees("waiting", ("pause",))],
    expect=LINES,
    end=Completed(OUTPUT),
    effects=[1, 2],
)(ladder)
