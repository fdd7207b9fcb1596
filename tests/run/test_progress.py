"""What a sweep says of its progress where standard error is no terminal."""

import io
import sys

import pytest

from purerl.run.progress import bar

# Three chunks, the last of two runs; a run has 5 points and 1000 transitions.
RUNS = {0: 4, 1: 4, 2: 2}


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def shown(clock, capsys, advances, stored=(), show=True, runs=RUNS):
    """What is written after each advance, ``(seconds, chunk, points)``."""
    lines = []
    with bar(show, runs, set(stored), 5, 1000, clock) as advance:
        for seconds, chunk, points in advances:
            clock.now = 1000.0 + seconds
            advance(chunk, points)
            lines.append(capsys.readouterr().err)
    assert capsys.readouterr().err == ""
    return lines


def test_lines_come_after_ten_seconds_and_then_every_thirty(clock, capsys):
    lines = shown(
        clock,
        capsys,
        [(1, 0, 1), (9.9, 0, 1), (10, 0, 1), (39.9, 0, 1), (40, 0, 1), (69.9, 1, 4), (100, 1, 1)],
    )
    # At 10 s 12 of 50 points are there: 12 * 200 transitions, and 38 points are left.
    assert lines[2] == "purerl: 0/10 runs, 240 steps/s, 32 s left\n"
    # At 40 s 20 points: 100 a second, and 30 points at 2 s each.
    assert lines[4] == "purerl: 4/10 runs, 100 steps/s, 60 s left\n"
    assert lines[6] == "purerl: 8/10 runs, 80 steps/s, 25 s left\n"
    assert [bool(line) for line in lines] == [False, False, True, False, True, False, True]


def test_the_last_line_says_how_long_it_took(clock, capsys):
    lines = shown(clock, capsys, [(12, 0, 5), (13, 1, 5), (20, 2, 5)])
    assert lines[1:] == ["", "purerl: 10/10 runs, 500 steps/s, done in 20 s\n"]
    assert shown(clock, capsys, [(1, 0, 5), (2, 1, 5), (9, 2, 5)]) == [""] * 3


def test_stored_chunks_count_as_done_but_not_as_fast(clock, capsys):
    (line,) = shown(clock, capsys, [(20, 2, 1)], stored=[0])
    # 2 points in 20 s, 28 of them left.
    assert line == "purerl: 4/10 runs, 20 steps/s, 5 min left\n"


def test_long_times_and_high_speeds_are_short(clock, capsys):
    (line,) = shown(clock, capsys, [(100, 0, 1)], runs={0: 10**6, 1: 10**8})
    assert line == "purerl: 0/101000000 runs, 2 M steps/s, 14 h left\n"


def test_no_line_where_none_is_wanted(clock, capsys):
    assert shown(clock, capsys, [(50, 0, 5), (100, 1, 5)], show=False) == ["", ""]


def test_a_terminal_has_a_bar_instead(clock, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with bar(True, RUNS, set(), 5, 1000, clock) as advance:
        clock.now += 100
        advance(0, 5)
    assert "purerl:" not in capsys.readouterr().err


def test_a_log_that_cannot_be_written_ends_no_run(clock, monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError("no space left on device")

    with bar(True, RUNS, set(), 5, 1000, clock) as advance:
        monkeypatch.setattr(sys, "stderr", Full())
        clock.now += 100
        advance(0, 5)
