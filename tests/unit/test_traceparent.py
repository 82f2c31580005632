"""What is taken for a W3C `traceparent`, and what is left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zart.traceparent import ids_of, traceparent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize("flags", ["00", "01", "ff"])
def test_one_of_version_00_is_taken_as_it_is(flags):
    assert traceparent(f"00-{TRACE}-{SPAN}-{flags}") == f"00-{TRACE}-{SPAN}-{flags}"
    assert ids_of(f"00-{TRACE}-{SPAN}-{flags}") == (int(TRACE, 16), int(SPAN, 16), int(flags, 16))


@pytest.mark.parametrize("later", [f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-the-future-is-like"])
def test_of_a_later_version_is_taken_what_version_00_knows(later):
    assert traceparent(later) == GOOD


@pytest.mark.parametrize(
    "bad",
    [
        None,
        b"00",
        "",
        "00",
        f"{GOOD}-more",
        f"{GOOD} ",
        f"{GOOD}\n",
        f" {GOOD}",
        GOOD.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"01-{TRACE}-{SPAN}-01.more",
        f"00-{TRACE[:-1]}\u0663-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0\x00",
        "00-" + "f" * 10**6,
        f"{GOOD},{GOOD}",
    ],
)
def test_what_is_none_is_left_out(bad):
    assert traceparent(bad) is None
    assert ids_of(bad) is None


@given(st.text() | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"))
def test_whatever_is_given_what_is_kept_has_55_characters_of_one_form(given_):
    kept = traceparent(given_)
    assert kept is None or (len(kept) == 55 and kept.isascii() and traceparent(kept) == kept)
