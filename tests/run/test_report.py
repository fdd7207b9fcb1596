"""Reports of runs: what is printed, drawn and written, also where writing fails."""

import dataclasses
import errno
import html.parser
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from purerl import cli
from purerl.run import report
from purerl.run.result import SweepResult

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
EVIL = '<script>throw "x"</script>&"\''


def made(label="a run", values=(0.1, 0.2), **manifest):
    generator = np.random.default_rng(0)
    curve = generator.random((2, 12, 20)).astype(np.float32)
    curve[0, 3, 5:] = np.nan
    curve[1, :, :2] = np.nan  # no seed has a value yet
    curve[1, :, 9] = -np.inf
    manifest = {"label": label, "identity": {"lanes": 8}, "seconds": 2.0} | manifest
    return SweepResult(
        configurations=[{"epsilon": value} for value in values],
        seeds=np.arange(12),
        curves={"policy_value": curve, "evaluation_return": curve[:, :, -1:]},
        steps={"policy_value": np.arange(1, 21) * 50, "evaluation_return": np.array([1000])},
        failures=[{"configuration": 0, "seed": 3, "point": 5, "reason": "it diverged"}],
        manifest=manifest,
    )


def test_what_is_shown(tmp_path, capsys):
    report.show(made(compile_seconds=0.5), tmp_path)
    printed = capsys.readouterr()
    assert "FAILED: seed 3 of configuration 0 (epsilon=0.1) at point 5: it diverged" in printed.out
    assert "2.0 s, of which 0.5 s compiling; 8 lanes" in printed.out
    assert f"picture: {tmp_path / 'policy_value.png'}" in printed.out
    assert printed.err == ""
    assert [path.name for path in tmp_path.iterdir()] == ["policy_value.png"]


def test_only_measures_asked_for(tmp_path, capsys):
    result = made()
    more = {"q_error": result.curves["policy_value"]} | result.curves
    steps = {"q_error": result.steps["policy_value"]} | result.steps
    report.show(dataclasses.replace(result, curves=more, steps=steps), tmp_path, ["q_error"])
    assert [path.name for path in tmp_path.iterdir()] == ["q_error.png"]
    printed = capsys.readouterr().out
    assert "q_error" in printed and "policy_value" not in printed


def test_little_is_known_of_a_run_that_was_stopped(tmp_path, capsys):
    nothing = SweepResult(
        configurations=[{"rate": 0.1}],
        seeds=np.arange(3),
        curves={},
        steps={},
        failures=[],
        manifest={"label": "stopped"},
    )
    report.show(nothing, tmp_path, html=True)
    assert "stopped" in capsys.readouterr().out


def test_a_picture_that_cannot_be_written_is_said_and_the_others_are_written(tmp_path, capsys):
    (tmp_path / "policy_value.png").mkdir()
    report.show(made(), tmp_path, html=True)
    printed = capsys.readouterr()
    assert printed.err == (
        f"picture not written: {tmp_path / 'policy_value.png'}: Is a directory\n"
    )
    assert f"page: {tmp_path / 'report.html'}" in printed.out
    assert "IQM over seeds" in printed.out


def test_the_report_of_a_run_that_is_read_only(tmp_path, capsys, monkeypatch):
    def refused(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("purerl.figures.files.os.replace", refused)
    monkeypatch.setattr(cli.purerl, "load", lambda folder: made())
    cli.report((tmp_path,), html=True)
    printed = capsys.readouterr()
    assert "IQM over seeds" in printed.out
    assert printed.err.splitlines() == [
        f"picture not written: {tmp_path / 'policy_value.png'}: Read-only file system",
        f"page not written: {tmp_path / 'report.html'}: Read-only file system",
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_policy_whose_agent_is_gone_is_no_error(tmp_path, capsys):
    class Gone(list):
        def __getitem__(self, _):
            raise ValueError("there is no class MyAgent any more")

    kept = {(0, 0): {"snapshot.q": np.zeros(3)}}
    report.show(dataclasses.replace(made(), make_agents=Gone, kept=kept), tmp_path)
    printed = capsys.readouterr()
    assert printed.err == "policy not drawn: there is no class MyAgent any more\n"
    assert "picture: " in printed.out


# ---- the page ------------------------------------------------------------------------


class Elements(html.parser.HTMLParser):
    """All start tags of a page, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def written(tmp_path):
    def write(result):
        (tmp_path / "episode.gif").write_bytes(b"GIF89a")
        (tmp_path / "policy_value.png").write_bytes(b"of the curves")
        report.show(result, tmp_path, html=True)
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return write


def test_the_page_has_everything_and_loads_nothing(written):
    text = written(
        made(
            command=["purerl", "run", "a b"],
            created="2026-01-02T03:04:05",
            git={"commit": "abc", "dirty": True},
            origins=[
                {"versions": {"jax": "0.10", "numpy": "2.1"}, "cpu": "a chip", "device": "cpu"},
                {"versions": {"jax": "0.11", "numpy": "2.1"}, "cpu": "a chip", "device": "cpu"},
            ],
        )
    )
    page = Elements(text)
    sources = [
        source for _, tag in page.tags for source in (tag.get("src"), tag.get("href")) if source
    ]
    assert sources == ["data:image/gif;base64,R0lGODlh"]  # its own film, not the curves' picture
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    shown = " ".join(page.words)
    for fact in ("purerl run 'a b'", "2026-01-02T03:04:05", "abc with changes", "a chip; cpu"):
        assert fact in shown
    assert "jax 0.10, numpy 2.1; jax 0.11, numpy 2.1" in shown
    assert "FAILED: seed 3 of configuration 0" in shown
    assert "epsilon=0.1" in shown and '"lanes": 8' in shown


def test_curves_of_the_page_are_the_curves(written):
    result = made()
    page = Elements(written(result))
    (data,) = [word for word in page.words if word.startswith('{"steps"')]
    assert json.loads(data)["steps"][:2] == ["50", "100"]
    assert "environment steps" in page.words
    first, second = json.loads(data)["curves"]
    assert [first["label"], second["label"]] == ["eps 0.1 (n=11 of 12)", "eps 0.2 (n=12)"]
    band = result.chart("policy_value").bands["eps 0.1 (n=11 of 12)"]
    assert first["text"][0] == "{:.4g} [{:.4g}, {:.4g}]".format(*band[:, 0])
    assert second["text"][:2] == ["", ""] and second["y"][:2] == [None, None]
    assert second["text"][9].startswith("-inf") and second["y"][9] is None
    curves = [tag for name, tag in page.tags if tag.get("class") == "curve" and "d" in tag]
    drawn = [tag["d"] for tag in curves if tag["d"] != "M0 4H26"]
    # The second begins at the third point, and has a gap.
    assert [path.count("M") for path in drawn] == [1, 2]
    assert [path.count("L") for path in drawn] == [19, 6 + 9]
    # Higher values are drawn higher.
    y = np.array(first["y"])
    np.testing.assert_array_equal(np.argsort(-y), np.argsort(band[0]))


def test_steps_of_the_page_count_the_warm_up(written):
    result = dataclasses.replace(made(), warm_ups=[10_000, 10_000])
    (data,) = [word for word in Elements(written(result)).words if word.startswith('{"steps"')]
    assert json.loads(data)["steps"][:2] == ["10050", "10.1k"]
    result = dataclasses.replace(made(), warm_ups=[10_000, 0])
    assert "environment steps after the warm-up" in Elements(written(result)).words


def test_many_curves_have_no_intervals():
    many = rng_result(13).chart("q_error")
    few = rng_result(12).chart("q_error")
    assert many.note == "IQM" and "bootstrap" in few.note
    for label, band in few.bands.items():
        np.testing.assert_array_equal(many.bands[label][0], band[0])
        assert np.isnan(many.bands[label][1:]).all() and np.isfinite(band).all()


def rng_result(configurations):
    curve = np.random.default_rng(0).random((13, 12, 20))[:configurations]
    return SweepResult(
        configurations=[{"epsilon": i / 100} for i in range(configurations)],
        seeds=np.arange(12),
        curves={"q_error": curve},
        steps={"q_error": np.arange(20)},
        failures=[],
        manifest={"label": "many"},
    )


def test_all_text_is_escaped(written):
    text = written(made(label=EVIL, values=(EVIL, "b"), command=[EVIL], created=EVIL))
    page = Elements(text)
    assert EVIL not in text
    scripts = [tag for name, tag in page.tags if name == "script"]
    assert len(scripts) == 2  # the numbers of a chart, and the page's own
    assert sum('throw "x"' in word for word in page.words) >= 3


def visit(path):
    """The page after its scripts have run, and the messages of its console."""
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    done = subprocess.run(
        [BROWSER, *words, path.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_browser_shows_the_curves_and_their_numbers(written, tmp_path):
    text = written(made(label=EVIL, values=(EVIL, "b")))
    hover = """<script>
      const svg = document.querySelector(".chart > svg"), box = svg.getBoundingClientRect();
      const where = {clientX: box.right - 30, clientY: box.top + 50, bubbles: true};
      svg.dispatchEvent(new PointerEvent("pointermove", where));
    </script></body>"""
    page = tmp_path / "page.html"
    page.write_text(text.replace("</body>", hover), encoding="utf-8")
    dom, messages = visit(page)
    assert messages == []
    assert dom.count('class="curve"') == 2 + 2  # and in the legend
    tip = re.search(r'<div class="tip"[^>]*>(.*?)</figcaption>', dom).group(1)
    numbers = [re.search(r": ([\d.]+ \[.*?\])", line).group(1) for line in tip.split("<div>")[1:]]
    assert "step 1k" in tip and len(numbers) == 2
    expected = made().chart("policy_value").bands.values()
    assert set(numbers) == {"{:.4g} [{:.4g}, {:.4g}]".format(*band[:, -1]) for band in expected}

    page.write_text(text.replace("</body>", '<script>throw "seen"</script></body>'))
    _, messages = visit(page)
    assert any("seen" in message for message in messages)  # or silence would mean nothing
