"""The command line: every command once for real, exit codes, refusals, start-up cost, interruption."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esntools import cli
from esntools.cli import commands
from esntools.cli.arguments import Misuse, make_parser, parse
from esntools.cli.console import ProgressLine
from esntools.cli.values import join_negative
from esntools.errors import EsntoolsWarning, InvalidInputError
from esntools.network import EchoStateNetwork

ROOT = Path(__file__).parents[1]


def _run(*arguments: str | Path) -> int:
    return cli.main([str(a) for a in arguments])


def _spawn(*arguments: str, cwd: Path = ROOT, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, env=environment, check=False,
        timeout=120, **options,
    )  # fmt: skip


# -- what it costs to start ----------------------------------------------------------------------------------

HEAVY = (
    "scipy", "sympy", "numba", "matplotlib", "networkx", "reservoirpy", "flint", "jinja2", "pandas",
    "pyarrow",
)  # fmt: skip


@pytest.mark.parametrize(
    "code",
    [
        "import esntools; dir(esntools); esntools.__version__",
        "from esntools.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
        "from esntools.cli import main\nmain(['fit', '--help'])",
        "from esntools.cli import main\nmain(['models'])",
        "import esntools.series",
    ],
)
def test_starting_loads_nothing_heavier_than_numpy(code: str) -> None:
    ending = f"\nimport sys; print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    result = _spawn("-c", code + ending)
    assert result.stderr.strip() == "[]"
    assert result.returncode == 0


def test_help_is_quick() -> None:
    best = np.inf
    for _ in range(3):
        before = os.times()
        assert _spawn("-m", "esntools", "--help").returncode == 0
        after = os.times()
        # The child's own CPU time: the promise of 0.5 s must not fail because other work runs beside it.
        best = min(
            best, after.children_user + after.children_system - before.children_user - before.children_system
        )
    assert best < 0.5


def test_every_public_name_resolves_and_the_two_lists_agree() -> None:
    import ast

    import esntools

    for name in esntools.__all__:
        assert getattr(esntools, name) is not None
    assert set(esntools.__all__) <= set(dir(esntools))
    tree = ast.parse(Path(esntools.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    static = {
        alias.asname: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    lazy = {public: (f"esntools.{module}", inside) for public, (module, inside) in esntools._LAZY.items()}
    assert static == lazy
    with pytest.raises(AttributeError, match="did you mean 'EchoStateNetwork'"):
        _ = esntools.EchoStateNetwrok  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "imports",
    [
        "import esntools.basins, esntools",
        "import esntools; esntools.basins; import esntools.basins",
        "import esntools.excitable.landscape, esntools.basins",
    ],
)
def test_a_function_wins_over_the_module_of_its_name(imports: str) -> None:
    code = f"{imports}\nprint(type(esntools.basins).__name__)\nfrom esntools.basins import find_edge_state"
    result = _spawn("-c", code)
    assert (result.stdout, result.stderr) == ("function\n", "")


# -- the parser ----------------------------------------------------------------------------------------------


def test_negative_values_are_values() -> None:
    assert join_negative(["verify", "m", "--inputs", "-1:1"]) == ["verify", "m", "--inputs=-1:1"]
    assert join_negative(["--constant", "-.5,1", "-o", "-x"]) == ["--constant=-.5,1", "-o", "-x"]
    options = parse(["verify", "m.npz", *join_negative(["--inputs", "-1:1,0:2e-1"])])
    assert options.inputs == ([-1.0, 0.0], [1.0, 0.2])
    assert parse(["verify", "m.npz", "--constant=-0.5,2"]).constant == [-0.5, 2.0]


MISUSES = {
    "": "COMMAND: missing",
    "verfy": "verfy: no such command; did you mean 'verify'?",
    "--bogus": "--bogus: not understood",
    "fit": "fit SOURCE: missing; required; see esntools fit --help",
    "fit x.csv --colum a": "fit --colum: not understood; did you mean '--column'?",
    "fit x.csv --col a": "fit --col: not understood; did you mean '--column'?",
    "fit x.csv --task forcast": "fit --task: 'forcast'; not a choice; did you mean 'forecast'?",
    "fit x.csv --spectral-radius -1": "fit --spectral-radius: '-1'; must be a number above 0",
    "fit x.csv --spectral-radius nan": "fit --spectral-radius: 'nan'; must be a number above 0",
    "fit x.csv --leak-rate 1.5": "fit --leak-rate: '1.5'; must be a number above 0, at most 1",
    "fit x.csv --n-units 2.5": "fit --n-units: '2.5'; must be a whole number from 1",
    "fit x.csv y.csv": "fit y.csv: not understood; one word too many; a path with blanks needs quotes",
    "fit x.csv -o": "fit -o/--output: without a value; must have one; see esntools fit --help",
    "verify m.npz --inputs -inf:inf": "verify --inputs: '-inf:inf'; must be LO:HI",
    "verify m.npz --zero --column a": "verify --column: given without --signal",
    "lyapunov m.npz --column a": "lyapunov --column: given without --signal",
    "forecast m.npz --steps 0": "forecast --steps: '0'; must be a whole number from 1",
    "verify m.npz": "verify options: missing; one of --inputs, --zero",
    "verify m.npz --inputs 1": "verify --inputs: '1'; must be LO:HI",
    "verify m.npz --inputs 1:-1": "verify --inputs: '1:-1'; must be LO:HI with LO <= HI",
    "verify m.npz --inputs -1:inf": "verify --inputs: '-1:inf'; must be LO:HI",
    "verify m.npz --constant a": "verify --constant: 'a'; must be numbers separated by commas",
    "verify m.npz --zero --any": "verify --any: given with --zero; only one of them may stand",
    "models extra": "models extra: not understood",
    "fixed-points m.npz --budget 5": "fixed-points --budget: given without --complete",
    "fixed-points m.npz --complete --certify": "fixed-points --certify: given with --complete; only one",
    "orbits m.npz": "orbits --period: missing; required; see esntools orbits --help",
    "orbits m.npz --period 0": "orbits --period: '0'; must be a whole number from 1",
    "bifurcations m.npz --from 1": "bifurcations --to: missing",
    "bifurcations m.npz --from 0 --to 1 --parameter leek": "bifurcations --parameter: 'leek'; not a choice; ",
    "lyapunov m.npz --exponents some": "lyapunov --exponents: 'some'; must be a whole number from 1, or all",
    "echo-index m.npz": "echo-index options: missing; one of --inputs, --zero",
    "echo-index m.npz --zero --symbol 1": "echo-index --symbol: given with --zero; only one of them",
    "echo-index m.npz --symbol 1 --runs 3:2": "echo-index --runs: '3:2'; must be LO:HI, LO: or N",
    "compare a.npy": "compare LEARNED: missing",
}


@pytest.mark.parametrize("line", MISUSES)
def test_misuse_is_one_line_and_exit_code_2(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(*line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("esntools: " + MISUSES[line])
    assert err.count("\n") == 1


def test_help_documents_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--help") == 0
    text = capsys.readouterr().out
    for name in commands.COMMANDS:
        assert re.search(rf"^    {name}\s", text, flags=re.MULTILINE)
        assert _run(name, "--help") == 0
        assert f"usage: esntools {name}" in capsys.readouterr().out
    for code in (0, 1, 2, 3, 70, 130):
        assert f"\n{code:>5}  " in text
    parser = next(a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    assert set(parser.choices) == set(commands.COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import esntools

    assert _run("--version") == 0
    assert capsys.readouterr().out == f"esntools {esntools.__version__}\n"


# -- every command for real ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a series in it and a model fitted to it by the command line."""
    folder = tmp_path_factory.mktemp("workshop")
    before = Path.cwd()
    os.chdir(folder)
    k = np.arange(1500)
    rng = np.random.default_rng(0)
    y = 20.0 + np.sin(0.21 * k) + 0.5 * np.sin(0.34 * k) + 1e-4 * rng.standard_normal(len(k))
    with (folder / "data.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["time", "temperature", "humidity"])
        writer.writerows([f"{0.5 * i:.1f}", repr(float(v)), repr(float(v) ** 2)] for i, v in zip(k, y))
    code = _run(
        "fit", "data.csv", "--column", "temperature", "-o", "model.npz", "--n-units", "60",
        "--spectral-radius", "0.5", "--leak-rate", "0.8", "--input-scaling", "0.5", "--bias-scaling", "0.5",
    )  # fmt: skip
    assert code == 0
    yield folder
    os.chdir(before)


def test_fit_says_five_lines(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (workshop / "model.npz").read_bytes()
    arguments = ["fit", "data.csv", "--column", "temperature", "--n-units", "60", "--spectral-radius", "0.5",
                 "--leak-rate", "0.8", "--input-scaling", "0.5", "--bias-scaling", "0.5", "-o"]  # fmt: skip
    assert _run(*arguments, "again.npz") == 0
    out, err = capsys.readouterr()
    assert out == ""
    said = err.splitlines()[-5:]
    assert said[0].startswith("data.csv: 1500 steps of temperature; ")
    assert said[1].startswith("network: 60 units, spectral radius 0.5")
    assert said[2].startswith("held-out error: ")
    assert said[3].startswith("valid prediction time: ")
    assert said[4].startswith("written to again.npz after ")
    network = EchoStateNetwork.load("model.npz")
    assert EchoStateNetwork.load("again.npz") == network
    assert network.spectral_radius() == pytest.approx(0.5, rel=1e-6)
    assert (workshop / "model.npz").read_bytes() == before
    assert _run(*arguments, "quiet.npz", "--quiet") == 0
    assert capsys.readouterr().err == ""


def test_forecast_continues_the_series(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("forecast", "model.npz", "--steps", "40", "-o", "forecast.csv") == 0
    assert capsys.readouterr().out == ""
    rows = list(csv.reader((workshop / "forecast.csv").read_text().splitlines()))
    assert rows[0] == ["time", "temperature"]
    assert [float(row[0]) for row in rows[1:4]] == [0.5, 1.0, 1.5]
    k = 1500 + np.arange(40)
    truth = 20.0 + np.sin(0.21 * k) + 0.5 * np.sin(0.34 * k)
    np.testing.assert_allclose([float(row[1]) for row in rows[1:]], truth, atol=0.1)
    assert _run("forecast", "model.npz", "--steps", "40") == 0
    assert capsys.readouterr().out == (workshop / "forecast.csv").read_text()
    from esntools.training import Fit

    expected = Fit.load("model.npz").forecast(40).outputs[:, 0]
    assert [float(row[1]) for row in rows[1:]] == expected.tolist()


def test_verify_and_check(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    EchoStateNetwork([[0.5]], W_in=[[1.0]]).save("small.npz")
    EchoStateNetwork([[2.0]], W_in=[[1.0]]).save("large.npz")
    assert _run("verify", "small.npz", "--inputs", "-1:1", "-o", "certificate.json") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "Proved" in err
    assert _run("check", "certificate.json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["valid"] is True
    assert answer["verdict"] == "proved"
    assert _run("verify", "small.npz", "--any") == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads(json.dumps(document))
    for inputs in (["--zero"], ["--inputs", "-1:1"], ["--constant", "0"]):
        assert _run("verify", "large.npz", *inputs, "-o", "refuted.json") == 1
        assert "Refuted" in capsys.readouterr().err
        assert _run("check", "refuted.json") == 0
        assert json.loads(capsys.readouterr().out)["verdict"] == "refuted"
    (workshop / "u.csv").write_text("u\n0.5\n-0.25\n0.125\n")
    assert _run("verify", "small.npz", "--signal", "u.csv", "-o", "signal.json") == 0
    assert _run("check", "signal.json") == 0
    capsys.readouterr()


def test_an_altered_certificate_is_invalid(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    EchoStateNetwork([[0.5]], W_in=[[1.0]]).save("small.npz")
    assert _run("verify", "small.npz", "--zero", "-o", "c.json", "--quiet") == 0
    text = (workshop / "c.json").read_text()
    digest = json.loads(text)["network"]
    changed = text.replace('"verdict": "proved"', '"verdict": "refuted"')
    assert changed != text
    (workshop / "c.json").write_text(changed)
    assert digest
    capsys.readouterr()
    assert _run("check", "c.json") in (1, 2)
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert not out or json.loads(out)["valid"] is False


def test_fixed_points(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("fixed-points", "model.npz", "--closed-loop", "--starts", "64") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["index_sum"] == sum(point["index"] for point in document["points"])
    # The mean of the series is where its oscillation is unstable.
    assert any(abs(point["output"][0] - 20.0) < 0.5 for point in document["points"])
    EchoStateNetwork([[2.0]], W_in=[[1.0]]).save("large.npz")
    assert _run("fixed-points", "large.npz", "-o", "points.json", "--quiet") == 0
    points = json.loads((workshop / "points.json").read_text())["points"]
    assert sorted(point["x"][0] for point in points) == pytest.approx([-0.9575040241, 0.0, 0.9575040241])
    assert _run("fixed-points", "large.npz", "--input", "-3", "-q") == 0
    assert len(json.loads(capsys.readouterr().out)["points"]) == 1
    assert _run("fixed-points", "switching-2neuron", "--input", "0.25,0.05", "-q") == 0
    assert len(json.loads(capsys.readouterr().out)["points"]) == 3


def test_lyapunov(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("lyapunov", "model.npz", "--steps", "2000", "--exponents", "2") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["unit"] == "1/time"
    assert document["dt"] == pytest.approx(0.5)
    assert len(document["exponents"]) == 2
    # x <- x/2 + u contracts by one half at every step, whatever the input.
    EchoStateNetwork([[0.5]], W_in=[[1.0]], activation="identity").save("half.npz")
    assert (
        _run("lyapunov", "half.npz", "--signal", "data.csv", "--column", "temperature", "--exponents", "1")
        == 0
    )
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "conditional"
    assert document["exponents"][0] * document["dt"] == pytest.approx(np.log(0.5), abs=1e-9)


def test_ena_of_two_neurons(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Up to the gap between the two thresholds there is one edge; all that were found are kept beside it.
    assert _run("ena", "switching-2neuron", "-o", "graph.graphml", "--plot", "graph.svg") == 0
    err = capsys.readouterr().err
    assert "2 nodes, 1 edge\n" in err
    assert "0: fixed point, " in err
    assert "% of random states" in err
    assert "above which thresholds grow 10 times" in err
    assert (workshop / "graph.graphml").stat().st_size > 0
    assert "<svg" in (workshop / "graph.svg").read_text()[:1000]
    assert _run("ena", "switching-2neuron", "--amplitude-cut", "all", "--quiet") == 0
    graph = json.loads(capsys.readouterr().out)
    assert len(graph["nodes"]) == len(graph["edges"]) == 2
    assert {c["target"] for c in graph["graph"]["connections"]} == {0, 1}


def test_models(capsys: pytest.CaptureFixture[str]) -> None:
    from esntools.zoo import zoo_names

    assert _run("models") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert list(json.loads(out)) == zoo_names()


def test_a_terminal_without_umlauts() -> None:
    for encoding in ("ascii", "latin-1", "utf-8"):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
        result = subprocess.run(
            [sys.executable, "-m", "esntools", "models"], env=environment, capture_output=True, check=True
        )
        assert json.loads(result.stdout.decode(encoding))["rossler"]["title"].startswith("Rössler")


def test_fit_with_an_input(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """humidity is temperature squared: a memoryless map that a small network observes well."""
    options = ["--n-units", "40", "--spectral-radius", "0.3", "--leak-rate", "1", "--input-scaling", "0.5",
               "--bias-scaling", "0.5", "-o", "observer.npz"]  # fmt: skip
    assert _run("fit", "data.csv", "--column", "humidity", "--input", "temperature", *options) == 0
    assert "1500 steps of humidity" in capsys.readouterr().err
    from esntools.training import Fit

    fit = Fit.load("observer.npz")
    assert (fit.task, fit.network.n_inputs, fit.network.n_outputs) == ("observe", 1, 1)
    assert fit.holdout_nrmse < 0.02
    assert _run("fit", "data.csv", "--input", "temperature") == 2
    assert "add --column NAME" in capsys.readouterr().err
    assert _run("fit", "data.csv", "--column", "humidity", "--task", "map") == 2
    assert "name it with --input" in capsys.readouterr().err
    assert _run("forecast", "observer.npz", "-o", "f.csv") == 2
    assert "observer.npz: fitted for the task 'observe'; only a network" in capsys.readouterr().err
    assert _run("lyapunov", "observer.npz") == 2
    assert "give its input with --signal" in capsys.readouterr().err


@pytest.mark.slow
def test_ena_and_report_of_the_flip_flop(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("ena", ROOT / "models" / "flipflop-2bit", "-o", "flip.json", "--plot", "flip.svg") == 0
    assert "4 nodes" in capsys.readouterr().err
    assert _run("report", "flipflop-2bit") == 0
    page = (workshop / "reports" / "flipflop-2bit" / "report.html").read_text()
    assert "<script" not in page
    assert (workshop / "reports" / "flipflop-2bit" / "graph.graphml").exists()


@pytest.mark.slow
def test_report_of_a_file(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("report", "data.csv", "--column", "temperature", "--n-units", "60", "--candidates", "4") == 0
    assert len(capsys.readouterr().err.splitlines()) >= 6
    folder = workshop / "reports" / "data"
    for name in ("report.html", "report.json", "model.npz"):
        assert (folder / name).stat().st_size > 0


# -- words and progress --------------------------------------------------------------------------------------


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_progress_line_on_a_terminal_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = ProgressLine(quiet=False)
    for i in range(1000):
        progress("searching", i / 1000)
    progress("judging", 0.5)
    progress.say("done")
    text = terminal.getvalue()
    assert text.count("\r") < 20
    assert "\rsearching   0 %" in text
    assert text.endswith("\r" + " " * len("searching   0 %") + "\rdone\n") or text.endswith("\rdone\n")
    assert text.count("\n") == 1


def test_progress_in_a_log_is_a_line_per_step(capsys: pytest.CaptureFixture[str]) -> None:
    progress = ProgressLine(quiet=False)
    for i in range(1000):
        progress("searching", i / 1000)
    progress("judging", 0.5)
    assert capsys.readouterr().err == "searching\njudging\n"
    quiet = ProgressLine(quiet=True)
    quiet("searching", 0.1)
    quiet.say("words")
    assert capsys.readouterr().err == ""


def test_our_warnings_are_one_line_and_others_are_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def body(options: argparse.Namespace, progress: ProgressLine) -> int:
        warnings.warn("3 rows\nwere dropped", EsntoolsWarning, stacklevel=1)
        warnings.warn("overflow", RuntimeWarning, stacklevel=1)
        return 0

    monkeypatch.setitem(commands.COMMANDS, "models", body)
    assert _run("models") == 0
    assert capsys.readouterr().err == "esntools: warning: 3 rows were dropped\n"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InvalidInputError("x", "3", "must be 2"), 2, "esntools: x: 3; must be 2\n"),
        (MemoryError(), 2, "esntools: memory: not enough"),
        (KeyboardInterrupt(), 130, "esntools: interrupted; nothing was left half-written\n"),
        (FileNotFoundError(2, "No such file", "a/b"), 2, "esntools: a/b: No such file"),
        (Misuse("fit x"), 2, "esntools: fit x\n"),
        (ZeroDivisionError("a\nb"), 70, "esntools: ZeroDivisionError: a b; this is a defect"),
        (RecursionError(), 70, "esntools: RecursionError: RecursionError; this is a defect"),
    ],
)  # fmt: skip
def test_every_error_is_one_line(
    error: BaseException,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def body(options: argparse.Namespace, progress: ProgressLine) -> int:
        raise error

    monkeypatch.setitem(commands.COMMANDS, "models", body)
    assert _run("models") == code
    err = capsys.readouterr().err
    assert err.startswith(words)
    assert err.count("\n") == 1
    assert _run("models", "--debug") == code
    assert "Traceback" in capsys.readouterr().err


def test_main_leaves_the_warning_filters_as_they_were() -> None:
    before, show = list(warnings.filters), warnings.showwarning
    _run("models")
    assert (warnings.filters, warnings.showwarning) == (before, show)


# -- processes -----------------------------------------------------------------------------------------------


def test_a_closed_pipe_is_no_traceback() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "esntools", "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        # The reader leaves before anything is written, as `| head -0` does.
        process.stdout.close()
        err = process.stderr.read()
        code = process.wait(timeout=60)
    assert err == b""
    assert code == 141


@pytest.mark.skipif(os.name == "nt", reason="closing a stream is spelled differently")
@pytest.mark.parametrize(
    ("closed", "code", "said"), [(">&-", 2, "esntools: standard output: is closed; must be accessible\n"),
                                 ("2>&-", 0, ""), ("<&-", 0, "")]
)  # fmt: skip
def test_streams_that_are_closed(closed: str, code: int, said: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m esntools models {closed}'],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (code, said)
    assert ("lorenz63" in done.stdout) == (code == 0)


@pytest.mark.skipif(os.name == "nt", reason="signals differ on Windows")
def test_an_interrupt_leaves_no_file(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a search that would take minutes: one line, code 130, an empty folder."""
    k = np.arange(20000)
    np.save(tmp_path / "x.npy", np.sin(0.2 * k) + np.sin(0.031 * k) ** 3)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "esntools", "fit", "x.npy", "-o", "model.npz", "--n-units", "500"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        first = process.stderr.readline()
        time.sleep(0.5)
        assert process.poll() is None, first
        process.send_signal(signal.SIGINT)
        err = first + process.stderr.read()
        code = process.wait(timeout=60)
    assert code == 130
    assert err.splitlines()[-1] == "esntools: interrupted; nothing was left half-written"
    assert "Traceback" not in err
    assert [p.name for p in tmp_path.iterdir()] == ["x.npy"]


@pytest.mark.skipif(os.name == "nt", reason="signals differ on Windows")
def test_an_interrupt_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from esntools import files\n"
        "replace = Path.replace\n"
        "def slow(self, target):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    return replace(self, target)\n"
        "Path.replace = slow\n"
        "try:\n"
        "    files.write_text('out.txt', 'new')\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    (tmp_path / "out.txt").write_text("old")
    result = _spawn("-c", code, cwd=tmp_path)
    assert result.returncode == 130
    assert [p.name for p in tmp_path.iterdir()] == ["out.txt"]
    assert (tmp_path / "out.txt").read_text() in ("old", "new")
