"""Writes the figures of a campaign into the page about it, and knows why some mutants may survive."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

REASONS = Path(__file__).parent / "reasons.toml"
BEGIN, END = "<!-- figures: written by `make mutate` -->", "<!-- end of figures -->"
UNEXPLAINED = "no reason given yet: a test is missing"


@frozen
class Count:
    """The figures of one group of modules."""

    group: str
    possible: int
    tried: int
    killed: int
    timed_out: int
    """Of the killed ones."""

    @property
    def share(self) -> float:
        """How many of those tried were killed, in percent."""
        return 100 * self.killed / max(1, self.tried)


def reasons() -> dict[str, str]:
    """Return why mutants may survive, by their names."""
    told = tomllib.loads(REASONS.read_text("utf-8"))
    return {mutant: each["reason"] for each in told["survivors"] for mutant in each["mutants"]}


def figures(counts: Sequence[Count], survivors: Mapping[str, Sequence[str]], about: str) -> str:
    """Return the part of the page that a campaign writes: `survivors` are the names of the mutants by group."""
    why = reasons()
    lines = [about, "", "| modules | possible | tried | killed | of them by the time limit | share |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    lines += [
        f"| {each.group} | {each.possible} | {each.tried} | {each.killed} | {each.timed_out} | {each.share:.1f} % |"
        for each in counts
    ]
    for group, names in survivors.items():
        lines += ["", f"### Survivors in {group}", ""]
        by_reason: dict[str, list[str]] = {}
        for name in names:
            by_reason.setdefault(why.get(name, UNEXPLAINED), []).append(name)
        for reason, those in sorted(by_reason.items()):
            lines += [f"{reason[0].upper()}{reason[1:]}:", ""]
            lines += [f"* {_code(name)}" for name in those] + [""]
        if not names:
            lines += ["None.", ""]
    return "\n".join(lines).rstrip()


def write(page: Path, part: str) -> None:
    """Put figures into a page, in place of those that stand there."""
    text = page.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{part}\n\n{END}{after}", "utf-8")


def _code(name: str) -> str:
    where, _, change = name.partition(": ")
    before, _, after = change.partition("  ->  ")
    return f"{where}: `` {before} `` becomes `` {after} ``"
