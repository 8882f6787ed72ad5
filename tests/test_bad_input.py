"""Bad input, as a person meets it: one clear line (place, value, rule, remedy), the documented code."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from esntools import cli, files
from esntools.network import MODEL_FORMAT, EchoStateNetwork, Readout

QUICK = ["--n-units", "30", "--spectral-radius", "0.5", "--leak-rate", "0.8", "--input-scaling", "0.5",
         "--bias-scaling", "0.5"]  # fmt: skip


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in; whatever is refused must leave it as it was."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert list(tmp_path.rglob("*.part")) == []


def _refused(
    capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2, says: tuple[str, ...] = ()
) -> str:
    before = {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()}
    assert cli.main(list(arguments)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert last.startswith("esntools: ")
    # place: value; rule
    assert re.search(r": .+; .+", last)
    for part in says:
        assert part in last
    assert {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()} == before
    return last


def _wave(n: int = 800) -> list[float]:
    k = np.arange(n)
    return (np.sin(0.21 * k) + 0.5 * np.sin(0.34 * k)).tolist()


def _csv(name: str, *columns: list[object], header: str = "") -> str:
    rows = [",".join(str(v) for v in row) for row in zip(*columns)]
    Path(name).write_text("\n".join(([header] if header else []) + rows) + "\n")
    return name


# -- data ----------------------------------------------------------------------------------------------------

DATA = {
    "empty file": ("", ["x.csv: the file is empty"]),
    "header only": ("time,x\n", ["x.csv: a header and no rows"]),
    "text in a number column": ("x\n1\nabc\n3\n", ["x.csv:3: column 'x': 'abc'; must be a number"]),
    "infinity": ("x\n1\ninf\n", ["x.csv:3: column 'x': inf; every value must be finite"]),
    "all missing": ("x\n\nNaN\n,\n".replace(",", "NA"), ["column 'x': every value is missing"]),
    "constant": ("x\n" + "2.5\n" * 800, ["x.csv: column 'x': constant at 2.5"]),
    "too short": (
        "x\n" + "\n".join(map(str, _wave(15))) + "\n",
        ["x.csv: column 'x': 1", " values, none", "washout + 10"],
    ),
    "newest first": (
        "date,x\n2020-01-02,1\n2020-01-01,2\n",
        ["column 'date': the newest row is first; times"],
    ),
    "numbers of another country beside ours": ("a;b\n1,5;1\n2,5;2\n", ["2 columns of numbers: a, b"]),
    "ambiguous": ("a,b\n1,2\n3,4\n", ["2 columns of numbers: a, b", "--column"]),
}


@pytest.mark.parametrize("command", ["fit", "report"])
@pytest.mark.parametrize("case", DATA)
def test_bad_data(case: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text, says = DATA[case]
    Path("x.csv").write_text(text)
    _refused(capsys, command, "x.csv", *QUICK, says=tuple(says))
    assert [p.name for p in Path().iterdir()] == ["x.csv"]


def test_missing_column(capsys: pytest.CaptureFixture[str]) -> None:
    _csv("x.csv", _wave(), _wave(), header="temprature,b")
    _refused(capsys, "fit", "x.csv", "--column", "temperature", says=("did you mean 'temprature'?",))
    _refused(capsys, "report", "x.csv", "--column", "9", says=("column 9: no such position",))


def test_missing_files(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("fit", "report"):
        _refused(capsys, command, "x.csv", says=("x.csv: no such file",))
    for command in ("forecast", "fixed-points", "lyapunov", "ena"):
        _refused(capsys, command, "m.npz", says=("m.npz: no such file",))
    _refused(capsys, "verify", "m.npz", "--zero", says=("m.npz: no such file",))
    _refused(capsys, "check", "c.json", says=("c.json: no such file",))
    _refused(capsys, "report", "lorenz", says=("did you mean 'lorenz63'?",))


def test_gaps_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    values: list[object] = list(_wave())
    values[200] = values[201] = ""
    _csv("x.csv", values, header="x")
    assert cli.main(["fit", "x.csv", *QUICK]) == 0
    err = capsys.readouterr().err
    warning = [line for line in err.splitlines() if line.startswith("esntools: warning: ")]
    assert len(warning) == 1
    assert re.search(r"missing|gap|drop", warning[0])


# -- options -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--spectral-radius", "-0.1"),
        ("--spectral-radius", "inf"),
        ("--leak-rate", "0"),
        ("--leak-rate", "1.01"),
        ("--connectivity", "0"),
        ("--input-scaling", "0"),
        ("--ridge", "-1"),
        ("--n-units", "0"),
        ("--washout", "-1"),
        ("--dt", "0"),
    ],
)
def test_options_out_of_range(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    _csv("x.csv", _wave(), header="x")
    _refused(capsys, "fit", "x.csv", option, value, says=(f"fit {option}: '{value}'; must be",))


def test_options_that_do_not_fit_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    _csv("x.csv", _wave(), _wave(), header="x,y")
    for command in ("fit", "report"):
        fit = [command, "x.csv", "--column", "x"]
        _refused(capsys, *fit, "--column", "x", says=("--column: 'x' is given twice",))
        _refused(capsys, *fit, "--n-train", "801", says=("--n-train: 801; the series has 800 steps",))
        _refused(capsys, *fit, "--lyapunov-exponent", "0.9", says=("0.9 without a time step", "add --dt"))
        _refused(
            capsys, *fit, "--n-units", "100000000", says=("--n-units: 100000000; its Gram matrix takes",)
        )
        for model in ("lorenz63", "flipflop-2bit"):
            _refused(
                capsys, command, model, "--column", "x", says=("--column: given; a zoo model has no columns",)
            )
    _refused(capsys, "fit", "x.csv", "--column", "x", "--input", "x", says=("'x' is given twice",))


def test_a_washout_longer_than_the_series(capsys: pytest.CaptureFixture[str]) -> None:
    _csv("x.csv", _wave(), header="x")
    _refused(capsys, "fit", "x.csv", *QUICK, "--washout", "795", says=("washout + 10",))


# -- model files ---------------------------------------------------------------------------------------------


def _network() -> EchoStateNetwork:
    return EchoStateNetwork([[0.5, 0.1], [0.0, 0.3]], W_in=[[1.0], [0.5]], readout=Readout([[1.0, 1.0]]))


def _every_model_command(capsys: pytest.CaptureFixture[str], *says: str) -> None:
    _refused(capsys, "forecast", "m.npz", says=says)
    _refused(capsys, "verify", "m.npz", "--zero", says=says)
    _refused(capsys, "fixed-points", "m.npz", says=says)
    _refused(capsys, "ena", "m.npz", says=says)


def test_truncated_model(capsys: pytest.CaptureFixture[str]) -> None:
    _network().save("m.npz")
    data = Path("m.npz").read_bytes()
    Path("m.npz").write_bytes(data[: len(data) // 2])
    _every_model_command(capsys, "m.npz", "truncated")


@pytest.mark.parametrize("at", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_altered_model(at: float, capsys: pytest.CaptureFixture[str]) -> None:
    _network().save("m.npz")
    data = bytearray(Path("m.npz").read_bytes())
    data[int(at * len(data))] ^= 0x55
    Path("m.npz").write_bytes(bytes(data))
    if cli.main(["verify", "m.npz", "--zero", "-q", "-o", "c.json"]) == 0:
        # The byte was one of the archive's dates or flags: what is read is what was written.
        assert EchoStateNetwork.load("m.npz") == _network()
    else:
        _refused(capsys, "verify", "m.npz", "--zero", says=("m.npz",))


def test_model_with_another_weight(capsys: pytest.CaptureFixture[str]) -> None:
    """A valid zip with a changed array: only the checksum can tell."""
    _network().save("m.npz")
    with np.load("m.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["W"] = arrays["W"] * 0.5
    np.savez("m.npz", **arrays)  # type: ignore[arg-type]
    _every_model_command(capsys, "m.npz: checksum differs")


def test_newer_model(capsys: pytest.CaptureFixture[str]) -> None:
    section, arrays = _network().to_parts()
    files.write_npz("m.npz", {"format": MODEL_FORMAT, "version": 99, "network": section}, arrays)
    _every_model_command(capsys, "m.npz: format version 99", "upgrade esntools")


def test_pickled_model(capsys: pytest.CaptureFixture[str]) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, ("exploded",)

    Path("m.npz").write_bytes(pickle.dumps(Bomb()))
    _every_model_command(capsys, "m.npz: a pickle", "pickles are never loaded")
    array = np.empty(1, dtype=object)
    array[0] = Bomb()
    np.savez("m.npz", header=array, W=array)
    _every_model_command(capsys, "m.npz")
    assert not Path("exploded").exists()


def test_another_kind_of_npz(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("m.npz", x=np.arange(3))
    _every_model_command(capsys, "m.npz: no esntools header")


def test_a_model_that_was_not_fitted_cannot_forecast(capsys: pytest.CaptureFixture[str]) -> None:
    _network().save("m.npz")
    _refused(capsys, "forecast", "m.npz", says=("m.npz",))
    _refused(capsys, "lyapunov", "m.npz", says=("m.npz",))
    assert cli.main(["verify", "m.npz", "--zero", "-q", "-o", "c.json"]) == 0


def test_wrong_inputs_for_the_network(capsys: pytest.CaptureFixture[str]) -> None:
    _network().save("m.npz")
    _refused(capsys, "verify", "m.npz", "--inputs", "-1:1,0:2", says=("2 values; the network has 1 input",))
    _refused(capsys, "fixed-points", "m.npz", "--input", "1,2,3", says=("3 values; the network has 1 input",))
    EchoStateNetwork([[0.5]]).save("closed.npz")
    _refused(capsys, "verify", "closed.npz", "--constant", "1", says=("the network has no inputs",))
    _refused(capsys, "verify", "closed.npz", "--closed-loop", says=("0 inputs and 0 outputs",))
    _csv("u.csv", [0.1, "", 0.3], header="u")
    for command in ("verify", "lyapunov"):
        _refused(
            capsys, command, "m.npz", "--signal", "u.csv", says=("u.csv: u, row 1 (counted from 0): missing",)
        )
    _csv("two.csv", [0.1, 0.2], [0.3, 0.4], header="a,b")
    columns = ["--column", "a", "--column", "b"]
    _refused(
        capsys, "verify", "m.npz", "--signal", "two.csv", *columns,
        says=("two.csv: a,b: 2 columns; the network has 1 input",),
    )  # fmt: skip


def test_the_bounds_of_an_inconclusive_answer_are_no_certificate(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.json").write_text(json.dumps({"format": "esntools-inconclusive", "version": 1}))
    _refused(capsys, "check", "c.json", says=("c.json: the bounds of an inconclusive verification",))
    Path("c.json").write_text("1")
    _refused(capsys, "check", "c.json", says=("c.json: not an esntools certificate",))


def test_a_zoo_name_where_a_model_file_belongs(capsys: pytest.CaptureFixture[str]) -> None:
    _refused(capsys, "forecast", "lorenz63", says=("lorenz63: a model of the zoo", "esntools fit lorenz63"))
    for command in ("fit", "forecast", "fixed-points"):
        _refused(capsys, command, "", says=("SOURCE: ''",))
    Path("folder").mkdir()
    _refused(capsys, "fit", "folder", says=("folder: a folder without a model.toml",))


# -- a closed loop that diverges -----------------------------------------------------------------------------


def test_a_divergent_forecast_is_reported_with_its_step(capsys: pytest.CaptureFixture[str]) -> None:
    """y <- 1.5 y + ... leaves every range; no overflow, no traceback, cells empty from that step on."""
    from esntools.training import Fit

    _csv("x.csv", _wave(), header="x")
    assert cli.main(["fit", "x.csv", *QUICK, "--quiet", "-o", "m.npz"]) == 0
    fit = Fit.load("m.npz")
    assert fit.network.readout is not None
    r = fit.network.readout
    n = fit.network.n_units
    import dataclasses

    wild = dataclasses.replace(
        fit.network, readout=Readout(50.0 * np.ones((1, n)), None, r.b_out + 1.0), activation="identity",
        leak_rate=1.0,
    )  # fmt: skip
    dataclasses.replace(fit, network=wild).save("wild.npz")
    capsys.readouterr()
    assert cli.main(["forecast", "wild.npz", "--steps", "2000", "-o", "f.csv"]) == 0
    err = capsys.readouterr().err
    said = re.search(r"left the training range at step (\d+)", err)
    assert said is not None
    assert "Warning" not in err
    rows = [line.split(",") for line in Path("f.csv").read_text().splitlines()[1:]]
    assert len(rows) == 2000
    step = int(said.group(1))
    assert all(row[1] == "" for row in rows[step - 1 :])
    assert all(row[1] != "" for row in rows[: step - 1])


# -- certificates --------------------------------------------------------------------------------------------


def _leaves(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _leaves(inner, (*path, i))
    else:
        yield path


def test_a_certificate_that_is_not_one(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("", "{", "[]", "{}", '{"format": "other"}', "\x00", "NaN"):
        Path("c.json").write_text(text)
        assert cli.main(["check", "c.json"]) in (1, 2)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert not out or json.loads(out)["valid"] is False


def test_a_certificate_with_any_claim_changed_is_not_valid(capsys: pytest.CaptureFixture[str]) -> None:
    _network().save("m.npz")
    assert cli.main(["verify", "m.npz", "--inputs", "-1:1", "-q", "-o", "c.json"]) == 0
    original = json.loads(Path("c.json").read_text())
    changed = 0
    for path in _leaves(original):
        if path[0] in ("notes", "provenance"):
            continue
        document = json.loads(Path("c.json").read_text())
        holder = document
        for key in path[:-1]:
            holder = holder[key]
        old = holder[path[-1]]
        holder[path[-1]] = old[::-1] + "x" if isinstance(old, str) else None if old is not None else 7
        Path("altered.json").write_text(json.dumps(document))
        assert cli.main(["check", "altered.json"]) in (1, 2, 3), path
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert not out or json.loads(out)["valid"] is False
        changed += 1
    assert changed >= 8


# -- output paths --------------------------------------------------------------------------------------------


def test_output_paths_are_refused_before_the_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from esntools import training

    def work(*arguments: object, **options: object) -> None:
        raise AssertionError("the work was started")

    monkeypatch.setattr(training, "fit", work)
    _csv("x.csv", _wave(), header="x")
    Path("folder").mkdir()
    _network().save("m.npz")
    for path in ("no/such/model.npz", "x.csv/model.npz"):
        _refused(capsys, "fit", "x.csv", "-o", path, says=(path, "the output path must be writable"))
        _refused(capsys, "verify", "m.npz", "--zero", "-o", path, says=(path,))
        _refused(capsys, "fixed-points", "m.npz", "-o", path, says=(path,))
        _refused(capsys, "forecast", "m.npz", "-o", path, says=(path,))
    _refused(
        capsys,
        "verify",
        "m.npz",
        "--zero",
        "-o",
        "folder",
        says=("a folder; the output path must be a file",),
    )
    _refused(capsys, "fit", "x.csv", "-o", "model.csv", says=("suffix '.csv'; must end in .npz",))
    _refused(
        capsys, "ena", "flipflop-2bit", "-o", "g.png", says=("must end in .graphml, .gexf, .json, .dot",)
    )
    _refused(capsys, "ena", "flipflop-2bit", "--plot", "g.xyz", says=("must end in .svg, .pdf, .png",))
    _refused(capsys, "report", "x.csv", "-o", "x.csv/report", says=("the report's folder must be writable",))


def test_a_folder_that_only_trying_shows_to_be_closed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Permissions may look right on a file system that is mounted read-only, and mean nothing to root."""

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("esntools.cli.sources.tempfile.TemporaryFile", refuse)
    _csv("x.csv", _wave(), header="x")
    _refused(
        capsys, "fit", "x.csv", "-o", "m.npz", says=("m.npz: .: Read-only file system", "choose another")
    )
    _refused(capsys, "report", "x.csv", says=("Read-only file system",))


def test_what_is_read_is_not_written_over(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("data.npz", x=_wave())
    Path("link.npz").symlink_to("data.npz")
    _network().save("m.npz")
    says = ("is what is read; the output must not replace it",)
    for path in ("data.npz", "./data.npz", "link.npz"):
        _refused(capsys, "fit", "data.npz", "-o", path, says=says)
    _refused(capsys, "verify", "m.npz", "--zero", "-o", "m.npz", says=says)
    _refused(capsys, "forecast", "m.npz", "-o", "m.npz", says=says)
    _refused(capsys, "verify", "m.npz", "--signal", "data.npz", "-o", "data.npz", says=says)
    _refused(capsys, "fit", "data.npz", "-o", "", says=("-o: ''; the output path must be a file",))


def test_a_device_is_written_to_and_stays_a_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Renaming a file over /dev/null takes it away from every program on the machine."""
    os.mkfifo(tmp_path / "pipe")
    _network().save("m.npz")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert cli.main(["verify", "m.npz", "--zero", "-q", "-o", "pipe"]) == 0
        assert os.read(reader, 10).startswith(b"{")
    finally:
        os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="no such name on this system")
def test_standard_output_by_its_name_is_not_replaced(tmp_path: Path) -> None:
    _network().save("m.npz")
    command = f'echo before; "{sys.executable}" -m esntools verify m.npz --zero -q -o /dev/stdout; echo after'
    with Path("log").open("wb") as log:
        environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
        subprocess.run(["sh", "-c", command], stdout=log, env=environment, check=True, timeout=60)
    text = Path("log").read_text()
    assert text.startswith("before\n{")
    assert text.endswith("}\nafter\n")


def test_a_report_that_fails_leaves_no_empty_folder(capsys: pytest.CaptureFixture[str]) -> None:
    _csv("x.csv", [2.5] * 800, header="x")
    _refused(capsys, "report", "x.csv", "-o", "there/report")
    assert not Path("there").exists()
