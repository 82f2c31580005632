"""Durations, names, retries and clocks: what is taken, what is refused, and with which word."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from zart import RetryConfig, WorkerConfig
from zart.clock import instant, micros, moment
from zart.config import FEWEST_CRASHES
from zart.durations import to_timedelta
from zart.ids import check_name
from zart.records import SUSPECT


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("5m", 300), ("2h", 7200), ("3d", 259200), ("1h30m", 5400), (0, 0), (1.5, 1.5), ("0s", 0)],
)
def test_durations_are_taken(text: Any, seconds: float) -> None:
    assert to_timedelta(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "bad", [math.nan, math.inf, -math.inf, -1, -0.001, True, False, "-5s", "", "abc", "5", None, [], "101y", 10**30, 1e300]
)
def test_bad_durations_are_refused(bad: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="the wait"):
        to_timedelta(bad, "the wait")


def test_a_hundred_years_are_taken() -> None:
    assert to_timedelta(timedelta(days=36525)).days == 36525


@pytest.mark.parametrize("name", ["a", "x" * 255, "ä", "日本", "with space", "a/b:c", "a "])
def test_names_are_taken(name: str) -> None:
    assert check_name(name, "name") == name


@pytest.mark.parametrize("name", ["", "x" * 256, "a\x00b", "a\nb", "a\x1bb", "\ud800", "a\u2028b", "a\u202eb", "\x7f"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="the thing"):
        check_name(name, "the thing")


@pytest.mark.parametrize("bad", [None, 3, b"x"])
def test_a_name_is_text(bad: Any) -> None:
    with pytest.raises(TypeError, match="the thing"):
        check_name(bad, "the thing")


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (RetryConfig.fixed(3, "1s"), [1, 1, 1]),
        (RetryConfig.linear(3, "1s"), [1, 2, 3]),
        (RetryConfig.exponential(3, "1s"), [1, 2, 4]),
        (RetryConfig.exponential(4, "1s", 10, max_delay="50s"), [1, 10, 50, 50]),
    ],
)
def test_delays(policy: RetryConfig, delays: list[int]) -> None:
    assert [policy.delay_before(n, 0.5) for n in range(1, len(delays) + 1)] == [d * 1_000_000 for d in delays]


@pytest.mark.parametrize("make", [RetryConfig.linear, RetryConfig.exponential, RetryConfig.fixed])
@pytest.mark.parametrize("multiplier", [1.0, 1.0001, 2.0, 1000.0])
def test_delays_never_overflow_and_never_shrink(make: Any, multiplier: float) -> None:
    options = {"multiplier": multiplier} if make == RetryConfig.exponential else {}
    policy = make(10_000, "1m", **options)
    delays = [policy.delay_before(n, 0.0) for n in range(1, 10_001)]
    assert delays == sorted(delays)
    assert delays[-1] <= micros(timedelta(days=36525))


@pytest.mark.parametrize(("jitter", "least"), [("full", 0.0), ("equal", 0.5)])
def test_jitter_stays_in_its_range(jitter: Any, least: float) -> None:
    policy = RetryConfig.fixed(1, "10s", jitter=jitter)
    found = [policy.delay_before(1, chance / 100) for chance in range(100)]
    assert least * 10_000_000 <= min(found) <= max(found) <= 10_000_000
    assert len(set(found)) == 100


@pytest.mark.parametrize(
    "make",
    [
        lambda: RetryConfig.fixed(-1, "1s"),
        lambda: RetryConfig.fixed(True, "1s"),
        lambda: RetryConfig.fixed(1, math.nan),
        lambda: RetryConfig.exponential(1, "1s", 0.5),
        lambda: RetryConfig.fixed(1, "1s", jitter="some"),  # type: ignore[arg-type]
        lambda: RetryConfig.fixed(1, "1s", retry_on="ValueError"),  # type: ignore[arg-type]
        lambda: WorkerConfig(lease="1s", heartbeat_interval="1s"),
        lambda: WorkerConfig(max_concurrent=0),
        lambda: WorkerConfig(max_crashes=2),
        lambda: WorkerConfig(queues=()),
        lambda: WorkerConfig(poll_interval=-1),
    ],
)
def test_bad_settings_are_refused(make: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        make()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jitter": "some"}, "jitter must be one of 'none', 'full', 'equal', not 'some'"),
        ({"jitter": ["full"]}, "jitter must be one of 'none', 'full', 'equal', not ['full']"),
        ({"backoff": "fibonacci"}, "backoff must be one of 'none', 'fixed', 'linear', 'exponential', not 'fibonacci'"),
        ({"multiplier": "two"}, "multiplier must be a number between 1 and 1000, not 'two'"),
        ({"multiplier": True}, "multiplier must be a number between 1 and 1000, not True"),
        ({"multiplier": math.nan}, "multiplier must be a number between 1 and 1000, not nan"),
        ({"delay": "soon"}, "delay: 'soon' is no duration; write e.g. '500ms', '30s', '5m', '1h30m', '3d'"),
        ({"max_delay": -1}, "max_delay must be between 0 and 100 years, not -1"),
        ({"max_retries": "3"}, "max_retries must be a whole number from 0, not '3'"),
        ({"retry_on": [ValueError]}, "retry_on or give_up_on takes exception classes, not [<class 'ValueError'>]"),
    ],
)
def test_a_bad_policy_is_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError)) as refused:
        RetryConfig(**{"backoff": "exponential", "max_retries": 1, **options})
    assert str(refused.value) == message


def test_a_policy_takes_durations_however_it_is_made() -> None:
    assert RetryConfig("fixed", 2, "1m", 1, max_delay=30) == RetryConfig.fixed(2, 60, max_delay="30s")
    assert RetryConfig("none", 0) == RetryConfig.none()


def test_the_crash_guard_strikes_only_those_who_are_suspects_first() -> None:
    assert FEWEST_CRASHES == SUSPECT + 1
    assert WorkerConfig(max_crashes=FEWEST_CRASHES).max_crashes == FEWEST_CRASHES


def test_instants_are_exact_and_aware() -> None:
    now = datetime(2026, 11, 22, 1, 2, 3, 456789, tzinfo=UTC)
    assert moment(instant(now)) == now
    assert moment(instant(datetime(1900, 1, 1, tzinfo=UTC))).year == 1900
    with pytest.raises(ValueError, match="time zone"):
        instant(datetime(2026, 1, 1))  # noqa: DTZ001 # naive on purpose
