"""How long is waited, when an endpoint counts as down, and what a log tells meanwhile."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from traitsteer.world import progress
from traitsteer.world.judge.pacing import Fuse, Patience, Silence, retry_after


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2099 07:28:00 -0000"}, None),
    ],
)
def test_a_reply_says_how_long_to_wait_or_it_does_not(
    said: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(said) == seconds


def test_a_date_is_so_many_seconds_away() -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    found = retry_after({"retry-after": format_datetime(later, usegmt=True)})
    assert found is not None and 3000 < found <= 3600


def test_waits_double_up_to_a_limit_and_are_no_fewer_than_the_endpoint_says() -> None:
    patience = Patience(30, 300, first_wait=1.0)
    for failures, most in ((1, 1.0), (2, 2.0), (4, 8.0), (20, 30.0)):
        assert most / 2 <= patience.wait(failures, None) <= most
        assert most / 2 <= patience.wait(failures, 0.0) <= most, "0 is no leave to hurry"
    assert 7.0 <= patience.wait(1, 7.0) <= 8.0
    assert 15.0 <= patience.wait(20, 7.0) <= 30.0
    assert 90.0 <= patience.wait(20, 90.0) <= 91.0


def test_the_fuse_blows_at_half_of_the_last_and_not_before() -> None:
    fuse = Fuse(failures=8)
    for _ in range(3):
        # Seven of sixteen fail, again and again.
        assert not any(fuse.blown_by(number < 7) for number in range(16))
    fuse = Fuse(failures=8)
    assert [fuse.blown_by(True) for _ in range(8)] == [False] * 7 + [True]
    # Failures that lie further back than the last sixteen are forgotten.
    fuse = Fuse(failures=8)
    assert not any(fuse.blown_by(failed) for failed in [True] * 7 + [False] * 16 + [True] * 7)


def test_an_endpoint_is_silent_when_several_prompts_failed_and_nothing_came_for_so_long() -> None:
    silence = Silence(seconds=10.0, prompts=3)
    with silence.listening(now=100.0):
        # Many at once say little, and one prompt says nothing of the others.
        assert not any(silence.after(prompt, 101.0) for prompt in "abcd")
        silence.broken(now=109.0)
        assert not any(silence.after("a", now) for now in (111.0, 120.0, 130.0))
        assert [silence.after(prompt, 130.0) for prompt in "bc"] == [False, True]
        with silence.listening(now=131.0):
            assert silence.after("d", 131.0), "another question alone is no reply"
    # Where nobody asked there was no silence.
    with silence.listening(now=900.0):
        assert not any(silence.after(prompt, 909.0) for prompt in "abc")
        assert silence.after("a", 910.0)


def test_a_log_is_told_now_and_then_and_at_the_end(monkeypatch, capsys) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.progress("search", 40, "answer") as advance:
        for _ in range(40):
            now[0] += 1.0
            advance(1)
    assert capsys.readouterr().err.splitlines() == [
        "search: 15 of 40 answers, 15 s",
        "search: 30 of 40 answers, 30 s",
        "search: 40 answers in 40.0 s",
    ]
