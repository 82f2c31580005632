"""`make prove`: everything that tries to refute what is promised, one after the other; at the end one line for each.

Exit status 0: all of it was tried, and nothing was refuted. 1: something failed. 2: nothing failed, but not all was tried.
"""

import argparse
import sys

from tests.proof.parts import FAILED, OPEN, ROOT, Part, parts


def prove(chosen: list[Part]) -> int:
    """Run them, say what came of each, and return the exit status."""
    folder = ROOT / "build" / "proof"
    folder.mkdir(parents=True, exist_ok=True)
    verdicts = []
    for part in chosen:
        print(f"{part.name}: {part.about} …", flush=True)
        verdicts.append(part.attempt(folder))
        print(f"    {verdicts[-1]}", flush=True)
    print()
    for verdict in verdicts:
        print(verdict)
    ways = [verdict.how for verdict in verdicts]
    print(f"\n{len(ways) - ways.count(FAILED) - ways.count(OPEN)} of {len(ways)} proven, {ways.count(FAILED)} failed")
    return 1 if FAILED in ways else 2 if OPEN in ways else 0


def main() -> int:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser("python -m tests.proof", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15, help="of chaos")
    parser.add_argument("--seeds", type=int, default=2000, help="of the simulation")
    parser.add_argument(
        "--stories", type=int, default=500, help="that all backends are told; a few hundred, or planted bugs escape"
    )
    parser.add_argument("--mutants", type=int, default=40, help="of each group of modules")
    parser.add_argument("--only", nargs="+", metavar="PART", help="some parts, by their names")
    given = parser.parse_args()
    known = parts(given.minutes, given.seeds, given.stories, given.mutants)
    strangers = set(given.only or ()) - {part.name for part in known}
    if strangers:
        parser.error(f"no such part: {', '.join(sorted(strangers))}; there are {', '.join(part.name for part in known)}")
    return prove([part for part in known if given.only is None or part.name in given.only])


if __name__ == "__main__":
    sys.exit(main())
