"""What a vendor's headers say about waiting."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentfootprint.vendors.failures import retry_after

NOON = 1_795_694_400.0  # Thu, 26 Nov 2026 12:00:00 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 0.5 ", 0.5),
        ("0", 0),
        ("-5", 0),
        ("Thu, 26 Nov 2026 12:00:30 GMT", 30),
        ("Thu Nov 26 12:00:30 2026", 30),  # asctime, and
        ("Thursday, 26-Nov-26 12:00:30 GMT", 30),  # RFC 850: older forms that HTTP still allows.
        ("Thu, 26 Nov 2026 13:00:30 +0100", 30),
        ("Thu, 26 Nov 2026 11:59:00 GMT", 0),
        ("soon", None),
        ("", None),
        ("inf", None),
        ("nan", None),
        ("9" * 400, None),
    ],
)
def test_a_wait_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}, NOON) == seconds


def test_a_date_without_a_zone_is_utc_wherever_this_machine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert retry_after({"retry-after": "Thu Nov 26 12:00:30 2026"}, NOON) == 30
    finally:
        monkeypatch.undo()
        time.tzset()


def test_milliseconds_are_more_exact_and_come_first() -> None:
    assert retry_after({"retry-after-ms": "250", "retry-after": "1"}) == 0.25
    assert retry_after({"retry-after-ms": "soon", "retry-after": "1"}) == 1
    assert retry_after({}) is None


@given(st.text() | st.floats().map(str) | st.integers().map(str))
@example("Wed, 21 Oct 2026 07:28:00 +99999999999999")
@example("Wed, 21 Oct 9999999999999999999999 07:28:00 GMT")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
def test_whatever_stands_there_is_a_time_or_nothing(value: str) -> None:
    for header in ("retry-after", "retry-after-ms"):
        seconds = retry_after({header: value})
        assert seconds is None or 0 <= seconds < math.inf
