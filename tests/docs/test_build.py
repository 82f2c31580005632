"""The documentation builds without a warning, and says what it is meant to say."""

import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.timeout(180)  # four seconds alone, more beside other tests
def test_the_documentation_builds_without_a_warning_and_shows_the_code_s_own_words(tmp_path):
    options = ["--quiet", "-E", "-W", "-n", "--keep-going", "-d", str(tmp_path / "doctrees")]
    command = [sys.executable, "-m", "sphinx", *options, str(DOCS), str(tmp_path / "html")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "html" / "reference" / "handlers.html").read_text()
    assert "wait_for_event" in page
    assert ".. py:" not in page  # what autodoc writes must be read as what it is, not as text
