"""Play every scenario, and write the pages: `python -m tests.conformance --page docs/explain/conformance.md`."""

import argparse
import sys
from pathlib import Path

import pytest

from tests.conformance.pages import CONFORMANCE, COVERAGE, FAILED, conformance, coverage


class Recorder:
    """Notes which scenario failed on which backend; what it does not hear of has not been played, or has passed."""

    def __init__(self) -> None:
        self.verdicts: dict[tuple[str, str], str] = {}
        self.played = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Hear of one."""
        if "::test_scenario" not in report.nodeid:
            return
        self.played += report.when == "call"
        if report.failed:
            backend, _, name = report.nodeid.partition("[")[2].removesuffix("]").partition("-")
            self.verdicts[name, backend] = FAILED


def main() -> int:
    """Play, write, and say whether all went well."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    told = f"where to write what conforms, as {CONFORMANCE.name}; {COVERAGE.name} is then written too"
    parser.add_argument("--page", type=Path, help=told)
    options = parser.parse_args()
    recorder = Recorder()
    suite = str(Path(__file__).parent / "test_conformance.py")
    code = pytest.main([suite, "--quiet", "-p", "no:cacheprovider"], plugins=[recorder])
    if not recorder.played:
        return int(code) or 1
    if options.page is not None:
        options.page.write_text(conformance(recorder.verdicts), "utf-8")
        COVERAGE.write_text(coverage(), "utf-8")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
