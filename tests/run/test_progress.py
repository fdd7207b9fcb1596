"""What a sweep says of its progress where standard error is no terminal."""

import io
import sys
import time

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
    """What is written as chunks come to points, ``(seconds, chunk, points)``."""
    lines = []
    with bar(show, runs, set(stored), 5, 1000, clock) as advance:
        for seconds, chunk, points in advances:
            clock.now = 1000.0 + seconds
            advance(chunk, points)
            lines.append(capsys.readouterr().err)
    assert capsys.readouterr().err == ""
    return lines


def test_lines_come_after_ten_seconds_and_then_every_thirty(clock, capsys):
    advances = [(60, 0, 1), (69.9, 0, 2), (70, 0, 3), (99.9, 0, 4), (100, 0, 5), (130, 1, 5)]
    lines = shown(clock, capsys, advances)
    assert [bool(line) for line in lines] == [False, False, True, False, True, True]
    # The first point comes after 60 s, most of which went to the compiler. In the 10 s
    # after it came 8 of 50 points, 200 transitions each, and 38 points are left.
    assert lines[2] == "purerl: 0/10 runs, 160 steps/s, 48 s left\n"
    # In 40 s 16 points; 30 are left.
    assert lines[4] == "purerl: 4/10 runs, 80 steps/s, 75 s left\n"
    # In 70 s 36 points; 10 are left.
    assert lines[5] == "purerl: 8/10 runs, 103 steps/s, 19 s left\n"


def test_a_part_of_a_point_is_progress(clock, capsys):
    lines = shown(clock, capsys, [(60, 0, 0.0), (69, 0, 0.25), (70, 0, 0.5)])
    # In 10 s 2 of 50 points, 200 transitions each.
    assert lines == ["", "", "purerl: 0/10 runs, 40 steps/s, 4 min left\n"]


def test_points_that_were_saved_on_the_way_are_not_fast(clock, capsys):
    lines = shown(clock, capsys, [(5, 0, 2.5), (10, 1, 4.5), (15, 0, 3.0)])
    # In 10 s 2 points; 10 + 18 were there, and 20 are left.
    assert lines == ["", "", "purerl: 0/10 runs, 40 steps/s, 2 min left\n"]


def test_nothing_new_is_no_line(clock, capsys):
    lines = shown(clock, capsys, [(5, 0, 0), (50, 1, 0), (90, 0, 0)])
    assert lines == ["", "", ""]


def test_the_last_line_is_written_once(clock, capsys):
    lines = shown(clock, capsys, [(1, 0, 5), (2, 1, 5), (20, 2, 5), (60, 2, 5)])
    assert [bool(line) for line in lines] == [False, False, True, False]


def test_a_terminal_says_compiling_until_a_chunk_has_begun(clock, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with bar(True, RUNS, set(), 1, 1000, clock) as advance:
        time.sleep(0.3)  # it is drawn ten times a second
        before = capsys.readouterr().err
        advance(0, 0)
        time.sleep(0.3)
        after = capsys.readouterr().err
    assert "compiling" in before and "training" not in before
    assert "training" in after.rpartition("compiling")[2]


def test_whole_chunks_count_from_the_beginning(clock, capsys):
    """As they come from other processes, where the first ends nothing but itself."""
    lines = shown(clock, capsys, [(9.9, 0, 5), (10, 1, 5)])
    assert lines == ["", "purerl: 8/10 runs, 800 steps/s, 2 s left\n"]


def test_two_lines_are_thirty_seconds_apart_after_a_long_pause_too(clock, capsys):
    lines = shown(clock, capsys, [(75, 0, 5), (104, 1, 3), (105, 1, 4)])
    assert [bool(line) for line in lines] == [True, False, True]


def test_the_last_line_says_how_long_it_took(clock, capsys):
    lines = shown(clock, capsys, [(12, 0, 5), (13, 1, 5), (20, 2, 5)])
    assert lines[1:] == ["", "purerl: 10/10 runs, 500 steps/s, done in 20 s\n"]
    assert shown(clock, capsys, [(1, 0, 5), (2, 1, 5), (9, 2, 5)]) == [""] * 3


def test_stored_chunks_count_as_done_but_not_as_fast(clock, capsys):
    lines = shown(clock, capsys, [(20, 2, 1), (30, 2, 2)], stored=[0])
    # 2 points in 10 s, 26 of them left.
    assert lines == ["", "purerl: 4/10 runs, 40 steps/s, 2 min left\n"]


def test_long_times_and_high_speeds_are_short(clock, capsys):
    (line,) = shown(clock, capsys, [(100, 0, 5)], runs={0: 10**6, 1: 10**8})
    assert line == "purerl: 1000000/101000000 runs, 10 M steps/s, 2.78 h left\n"


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
