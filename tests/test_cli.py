"""The command line, as a user types it."""

import random
import signal
import subprocess
import sys
import time

import pytest

import purerl
from purerl import cli
from purerl.agents import METHODS
from purerl.networks import ActorCritic, ConvNet
from purerl.optimizers import SGD, Adam
from purerl.run.checkpoint import read_archive, write_arrays

RUN = [
    "run",
    "QLearning",
    "Grid2x3-v0",
    "--seeds",
    "3",
    "--num-steps",
    "200",
    "--points",
    "2",
    "--lanes",
    "4",
    "--impl",
    "pcg4d",
]


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["purerl", *words])
        code = None
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
        return code, capsys.readouterr().out

    return run


def test_run_replay_report_and_resume(command, tmp_path):
    code, printed = command(
        *RUN, "--set", "epsilon=0.1,linear(1.0, 0.0, steps=100)", "discount=0.9", "--out", "run"
    )
    assert code is None
    assert "epsilon=0.1" in printed and "rerun run --seed 2" in printed
    result = purerl.load(tmp_path / "run")
    assert len(result.configurations) == 2 and result.agents[0].discount == 0.9
    assert result.curves["q_error"].shape == (2, 3, 2)
    assert (tmp_path / "run" / "policy.png").stat().st_size > 1000
    code, printed = command("rerun", "run", "--seed", "1", "--configuration", "1")
    assert code is None and "seed 1 is bit-identical to what is stored" in printed
    code, printed = command("report", "run")
    assert code is None and "QLearning on Grid2x3-v0" in printed
    before = (tmp_path / "run" / "chunks" / "00000.npz").stat().st_mtime_ns
    code, _ = command(
        *RUN,
        "--set",
        "epsilon=0.1,linear(1.0, 0.0, steps=100)",
        "discount=0.9",
        "--out",
        "run",
        "--resume",
    )
    assert code is None and (tmp_path / "run" / "chunks" / "00000.npz").stat().st_mtime_ns == before
    code, _ = command(*RUN, "--out", "run")
    assert "holds another run" in code


def test_replay_says_when_a_result_was_altered(command, tmp_path):
    command(*RUN, "--out", "run")
    path = tmp_path / "run" / "chunks" / "00000.npz"
    about, arrays = read_archive(path)
    arrays["curves.q_error"][1, 0] += 0.5
    del about["digest"]
    write_arrays(path, arrays, about)
    assert command("rerun", "run", "--seed", "0")[0] is None
    said = command("rerun", "run", "--seed", "1")[0]
    assert said == (
        "seed 1 DIFFERS from what is stored, by at most 0.5; since then there has changed: "
        "nothing that is recorded"
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "Qlearning", "Grid2x3-v0"], "did you mean 'QLearning'"),
        (["run", "DQN", "CartPole-v2"], "did you mean 'CartPole-v1'"),
        ([*RUN, "--set", "learning_rate"], "not of the form name=value"),
        ([*RUN, "--set", "learning_rate=-1.0"], "learning_rate is -1.0"),
        ([*RUN, "--set", "learning_rate=cosine(1.0)"], "allowed: one of constant, linear"),
        ([*RUN, "--set", "learnin_rate=1.0"], "no field 'learnin_rate'"),
        ([*RUN, "--seeds", "0"], "seeds is []"),
        (["run", "DQN", "Breakout"], "did you mean 'MinAtar/Breakout-v1'"),
        ([*RUN, "--set", "epsilon=0.1-0.5"], "(did you mean epsilon=0.1,0.5?)"),
        ([*RUN, "--set", "epsilon=linear(1.0)"], "allowed: linear(start, end, steps, begin)"),
        ([*RUN, "--set", "epsilon='0.1'"], "(did you mean 0.1?)"),
        ([*RUN, "--set", "epsilon=low"], "epsilon is 'low'"),
        ([*RUN, "--set", "epsilon=None"], "epsilon is None"),
        ([*RUN, "--set", "epsilon=x.y"], "--set: epsilon is x.y"),
        ([*RUN, "--set", "epsilon=0.1", "epsilon=0.2"], "epsilon is set twice"),
        ([*RUN, "--set", "behavior=greedy"], "allowed: a policy"),
        (["report", "nowhere"], "holds no run"),
        (["rerun", "nowhere", "--seed", "0"], "holds no run"),
    ],
)
def test_errors_are_one_clear_line(command, words, says):
    code, _ = command(*words)
    assert says in code and "\n" not in code and len(code) < 320


@pytest.mark.parametrize(
    ("agent", "measure"),
    [("TD", "value_error"), ("DifferentialQLearning", "policy_gain"), ("SARSALambda", "q_error")],
)
def test_every_kind_of_agent_is_judged_by_what_it_estimates(command, agent, measure):
    code, printed = command(
        "run",
        agent,
        "Grid2x3-v0",
        "--seeds",
        "2",
        "--num-steps",
        "400",
        "--points",
        "4",
        "--out",
        "run",
    )
    assert code is None and measure in printed


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_fields_valid_only_together_are_set_together(monkeypatch, order):
    texts = [
        "train_period=7",
        "target_period=77,154",
        "replay.capacity=1001",
        "learning_starts=210",
    ]
    seen = []
    monkeypatch.setattr(purerl, "sweep", lambda agent, seeds, over, **_: seen.append((agent, over)))
    monkeypatch.setattr(cli, "show", lambda *_: sys.exit())
    with pytest.raises(SystemExit):
        cli.run("DQN", "CartPole-v1", set=[texts[i] for i in order])
    ((agent, over),) = seen
    assert (agent.train_period, agent.replay.capacity, over) == (
        7,
        1001,
        {"target_period": [77, 154]},
    )


def test_parts_of_policy_gradient_agents_are_set():
    texts = [
        "network=ActorCritic((64, 64)),ActorCritic((), torso=ConvNet((16,), (128,)))",
        "optimizer=SGD(),Adam(eps=1e-5)",
        "entropy_weight=linear(0.01, 0, 100000)",
    ]
    over = cli.settings(texts)
    separate, shared = over["network"]
    assert separate == ActorCritic((64, 64)) and shared.torso == ConvNet((16,), (128,))
    assert over["optimizer"] == [SGD(), Adam(eps=1e-5)]
    assert float(over["entropy_weight"][0](50_000)) == pytest.approx(0.005)


def test_a_policy_gradient_agent_is_run_again(command, tmp_path):
    """Its network, optimizer and schedule are read back from the folder."""
    words = ["run", "PPO", "Pendulum-v1", "--seeds", "1", "--num-steps", "64", "--points", "1"]
    words += ["--set", "network=ActorCritic((4,))", "optimizer=SGD()", "num_envs=2"]
    words += ["entropy_weight=linear(0.01, 0, 1000)", "--keep", "nothing"]
    assert command(*words, "--out", "run")[0] is None
    result = purerl.load(tmp_path / "run")
    assert result.agents[0].network == ActorCritic((4,))
    assert result.agents[0].optimizer == SGD() and result.agents[0].env.num_actions == 5
    code, printed = command("rerun", "run", "--seed", "0")
    assert code is None and "seed 0 is bit-identical to what is stored" in printed


def test_lists(command):
    code, printed = command("envs")
    assert code is None and all(kind in printed for kind in purerl.envs.kinds())
    code, printed = command("agents")
    assert code is None and all(name in printed for name in METHODS)
    code, printed = command("agents", "SARSA")
    assert code is None and "learning_rate" in printed and "DQN" not in printed
    code, _ = command("agents", "Sarsa")
    assert "did you mean 'SARSA'?" in code


# ---- interruptions -------------------------------------------------------------------

# A process of its own, as a shell starts it: one in the background may inherit that
# SIGINT is ignored.
CHILD = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from purerl import cli
{before}
print("ready", flush=True)
cli.main()
"""
ENDLESS = [*RUN[:5], "--num-steps", "2000000000", "--points", "1", "--lanes", "4"]
# One call of a C function, during which Python runs in other threads alone; like a
# compiler that takes long.
IN_C = """
import hashlib
def list_envs() -> None:
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
cli.list_envs = list_envs
"""
# Python ignores what is raised in a finalizer.
IN_FINALIZER = """
import time
class Slow:
    def __del__(self):
        time.sleep(60)
def list_envs() -> None:
    Slow()
    time.sleep(60)
cli.list_envs = list_envs
"""


@pytest.fixture
def pressed(tmp_path):
    """Start a command, send signals after some seconds, and return how it ended: its
    exit status, the seconds that this took, and its standard error."""

    def press(words, delays, number=signal.SIGINT, before=""):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD.format(before=before), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        with child:
            assert child.stdout.readline() == "ready\n"
            for delay in delays:
                time.sleep(delay)
                began = time.perf_counter()
                child.send_signal(number)
            _, printed = child.communicate(timeout=60)
        seconds = time.perf_counter() - began
        assert "terminate called" not in printed and "Traceback" not in printed
        return child.returncode, seconds, printed

    return press


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_an_interrupted_run_ends_soon_and_says_how_to_continue(pressed, number, status):
    code, seconds, printed = pressed([*ENDLESS, "--out", "my run"], [6.0], number)
    assert code == status and seconds < 2
    assert printed.count("interrupted") == 1
    command = " ".join([*ENDLESS, "--out", "'my run'", "--resume"])
    assert f"finished chunks are kept, to continue: {cli._PYTHON} {command}\n" in printed


def test_a_command_that_cannot_run_python_ends_too(pressed):
    code, seconds, printed = pressed(["envs"], [1.0], before=IN_C)
    assert code == 130 and cli.GRACE - 0.1 < seconds < 2
    assert printed == "\npurerl: interrupted\n"


def test_a_second_press_ends_a_command_at_once(pressed):
    code, seconds, _ = pressed(["envs"], [1.0, 0.2], before=IN_C)
    assert code == 130 and seconds < 0.8


def test_an_interruption_that_python_ignores_is_none_here(pressed):
    code, seconds, printed = pressed(["envs"], [1.0], before=IN_FINALIZER)
    assert code == 130 and seconds < 1
    assert printed == "\npurerl: interrupted\n"


def test_an_ignored_signal_stays_ignored(pressed):
    ignored = """
import time
signal.signal(signal.SIGINT, signal.SIG_IGN)
def list_envs() -> None:
    time.sleep(2)
cli.list_envs = list_envs
"""
    assert pressed(["envs"], [0.5], before=ignored)[0] == 0


def test_signals_are_as_before_when_a_command_has_ended(command, monkeypatch):
    def handlers():
        descriptor = signal.set_wakeup_fd(-1)
        return descriptor, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    before = handlers()
    within = []
    monkeypatch.setattr(cli, "show", lambda *_: within.append(handlers()))
    assert command(*RUN, "--out", "run")[0] is None
    assert handlers() == before
    assert not set(within[0]) & set(before)


@pytest.mark.slow
@pytest.mark.parametrize("case", range(24))
def test_presses_at_random_moments(pressed, case):
    """Of DQN, which compiles for some seconds, trains in one long segment or many short
    ones, and is evaluated."""
    draw = random.Random(case)
    words = ["run", "DQN", "CartPole-v1", "--seeds", "4", "--num-steps"]
    words += draw.choice([["2000000", "--points", "1"], ["2000", "--points", "2"]])
    delays = [draw.uniform(0.0, 12.0), *draw.choice([[], [draw.uniform(0.0, 1.0)]])]
    code, seconds, _ = pressed([*words, "--out", "run"], delays)
    assert code in ((130, 0) if "2000" in words else (130,)) and seconds < 2
