"""What `esntools verify` and `esntools check` say and write."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from esntools import cli
from esntools.activations import Activation
from esntools.certificates import check_certificate
from esntools.cli.arguments import Misuse, parse
from esntools.network import EchoStateNetwork, Readout


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def random_network(radius: float, n: int = 12) -> EchoStateNetwork:
    rng = np.random.default_rng(4)
    W = rng.normal(size=(n, n))
    W *= radius / np.abs(np.linalg.eigvals(W)).max()
    return EchoStateNetwork(W, W_in=rng.uniform(-1, 1, (n, 1)))


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the words on standard error with every run of blanks as one."""
    return " ".join(capsys.readouterr().err.split())


def test_a_proof_is_told_with_its_meaning_its_ladder_and_its_washout(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random_network(0.6).save("m.npz")
    assert cli.main(["verify", "m.npz", "--inputs", "-1:1", "-o", "c.json"]) == 0
    text = said(capsys)
    washout = json.loads((desk / "c.json").read_text())["claim"]["washout"]
    for part in (
        "Proved: ", f"from step {washout['steps']} on", "It means: ", "It does not mean: ", "The ladder: ",
        "rung factor proves up to gain none above seconds", "perron-weights", "Bracket, in spectral radius: ",
        "Evidence (simulated, not proved): ", "empirical echo index 1", "conditional Lyapunov exponent -",
        "verify it with esntools check c.json",
    ):  # fmt: skip
        assert part in text, part


@pytest.mark.slow
@pytest.mark.ci
def test_an_open_question_comes_with_bracket_and_repair(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = random_network(0.9)
    network.save("m.npz")
    assert cli.main(["verify", "m.npz", "--any", "-o", "c.json", "--repair", "r.npz"]) == 3
    text = said(capsys)
    assert "Inconclusive: " in text
    assert "Repair: at spectral radius 0.8" in text
    assert "r.npz: the repaired network, at spectral radius" in text
    repaired = EchoStateNetwork.load("r.npz")
    assert repaired.spectral_radius() < network.spectral_radius()
    assert cli.main(["verify", "r.npz", "--any", "-q", "-o", "again.json"]) == 0
    record = json.loads((desk / "c.json").read_text())
    assert record["format"] == "esntools-inconclusive"
    assert record["repairs"][0]["network_hash"] == repaired.content_hash


def test_a_refuted_network_is_repaired_and_a_proved_one_is_left_alone(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = random_network(1.4)
    EchoStateNetwork(network.W, W_in=network.W_in, readout=Readout(np.ones((1, 12)))).save("m.npz")
    assert cli.main(["verify", "m.npz", "--zero", "-o", "c.json", "--repair", "r.npz"]) == 1
    text = said(capsys)
    assert "fit it again" in text
    assert EchoStateNetwork.load("r.npz").spectral_radius() < 1.0
    random_network(0.4).save("m.npz")
    assert cli.main(["verify", "m.npz", "--zero", "-o", "c.json", "--repair", "s.npz"]) == 0
    assert "nothing needs repair" in said(capsys)
    assert not (desk / "s.npz").exists()


def test_a_closed_loop_has_no_repair(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    EchoStateNetwork([[0.5]], W_in=[[1.0]], readout=Readout([[1.0]])).save("m.npz")
    assert cli.main(["verify", "m.npz", "--closed-loop", "-o", "c.json", "--repair", "r.npz"]) == 1
    assert "r.npz: not written; no repair: the network has feedback" in said(capsys)
    assert not (desk / "r.npz").exists()


def test_a_signal_gets_a_local_certificate_that_checks(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random_network(0.95).save("m.npz")
    u = np.random.default_rng(0).uniform(-1, 1, 60)
    (desk / "u.csv").write_text("u\n" + "\n".join(map(str, u)) + "\n")
    assert cli.main(["verify", "m.npz", "--signal", "u.csv", "-o", "c.json"]) == 3
    text = said(capsys)
    assert "Certified, but only locally: under this signal" in text
    assert "a proof must hold for every initial state" in text.lower()
    assert cli.main(["check", "c.local.json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "local"


def test_the_proof_is_written_to_be_read(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random_network(0.6).save("m.npz")
    assert cli.main(["verify", "m.npz", "--any", "-o", "c.json", "--proof", "p.tex"]) == 0
    assert r"\begin{theorem}" in (desk / "p.tex").read_text()
    assert "p.tex: what is certified, and why" in said(capsys)
    random_network(1.4).save("m.npz")
    assert cli.main(["verify", "m.npz", "--zero", "-q", "-o", "c.json", "--proof", "p.txt"]) == 1
    assert "DOES NOT FORGET" in (desk / "p.txt").read_text()
    assert cli.main(["verify", "m.npz", "--any", "--budget", "0", "-o", "c.json", "--proof", "q.txt"]) == 3
    assert "q.txt: not written; nothing is proved or refuted" in said(capsys)
    assert cli.main(["verify", "m.npz", "--any", "--proof", "p.pdf"]) == 2


def test_an_assumption_has_an_exit_code_of_its_own(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    phi = Activation.from_sympy("atan(x)/2")
    EchoStateNetwork([[0.9]], activation=phi, W_in=[[1.0]]).save("m.npz")
    assert cli.main(["verify", "m.npz", "--any", "-o", "c.json"]) == 4
    assert "Proved, assuming that the slopes of atan(x)/2 lie in [0, 0.5]" in said(capsys)
    assert cli.main(["check", "c.json"]) == 4
    out, err = capsys.readouterr()
    assert "atan(x)/2" in json.loads(out)["assumption"]
    assert "valid under an assumption" in err


def test_the_budget(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, seconds in (("60s", 60), ("2m", 120), ("1.5h", 5400), ("45", 45), ("0", 0), (".5s", 0.5)):
        assert parse(["verify", "m.npz", "--any", "--budget", text]).budget == seconds
    assert parse(["verify", "m.npz", "--any"]).budget == 60
    for text in ("-1", "soon", "3d", "", "nan", "1e3", "inf", "s"):
        with pytest.raises(Misuse, match="--budget"):
            parse(["verify", "m.npz", "--any", f"--budget={text}"])
    random_network(0.6).save("m.npz")
    assert cli.main(["verify", "m.npz", "--any", "--budget", "0", "-o", "c.json"]) == 3
    text = said(capsys)
    assert "the budget of 0 s is spent" in text
    assert "the time was over before anything was decided" in text
    assert "Evidence" not in text


def test_outputs_are_checked_before_the_work(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random_network(0.6).save("m.npz")
    for options, says in (
        (["--repair", "r.json"], "r.json: suffix '.json'; must end in .npz"),
        (["--repair", "nowhere/r.npz"], "nowhere: no such folder"),
        (["--repair", "m.npz"], "m.npz: is what is read"),
        (["--epsilon", "0"], "--epsilon"),
    ):
        assert cli.main(["verify", "m.npz", "--any", *options]) == 2
        text = said(capsys)
        assert says in text
        assert text.count("esntools:") == 1


def test_check_tells_undecided_from_invalid(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random_network(0.4, 3).save("m.npz")
    assert cli.main(["verify", "m.npz", "--any", "-q", "-o", "c.json"]) == 0
    document = json.loads((desk / "c.json").read_text())
    assert check_certificate(document).valid
    (desk / "newer.json").write_text(json.dumps({**document, "version": 99}))
    assert cli.main(["check", "newer.json", "-q"]) == 3
    missing = {**document, "network": {"file": "gone.json", "hash": "0" * 64}}
    (desk / "pointing.json").write_text(json.dumps(missing))
    assert cli.main(["check", "pointing.json", "-q"]) == 3
    (desk / "cut.json").write_text(json.dumps(document)[:-50])
    assert cli.main(["check", "cut.json", "-q"]) == 2
    document["claim"]["rate"] = (0.001).hex()
    (desk / "forged.json").write_text(json.dumps(document))
    assert cli.main(["check", "forged.json", "-q"]) == 1
    capsys.readouterr()
