"""The independent checker: agreement with a second one, forgeries, and what is not a certificate."""

from __future__ import annotations

import base64
import copy
import json
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from naive_certificates import naive_check

from esntools.activations import ACTIVATIONS
from esntools.certificates import check, check_certificate
from esntools.certificates.certify import certify_esp
from esntools.certificates.documents import array_section, network_section, proved_document
from esntools.certificates.lurie import incremental_lurie
from esntools.certificates.norms import diagonal_schur, perron_weights, spectral_norm
from esntools.certificates.sectors import Sector
from esntools.errors import InvalidInputError
from esntools.inputs import AnyInput, InputAlphabet, InputBox, Zero
from esntools.network import EchoStateNetwork, Readout

CHECKER = Path(check.__file__)


def proof(theorem: str) -> dict[str, Any]:
    """A certificate by each of the proving theorems for one leaky network with three units."""
    rng = np.random.default_rng(0)
    network = EchoStateNetwork(
        0.3 * rng.normal(size=(3, 3)), W_in=rng.normal(size=(3, 1)), b=rng.normal(size=3),
        leak_rate=[0.5, 0.75, 1.0],
    )  # fmt: skip
    sector = Sector(network.dense_W(), network.leak_rate, np.zeros(3), np.ones(3))
    rung = {
        "perron-weights": perron_weights, "spectral-norm": spectral_norm, "diagonal-schur": diagonal_schur,
        "incremental-lurie": incremental_lurie,
    }[theorem](sector)  # fmt: skip
    assert rung.candidate is not None
    return proved_document(
        network, theorem, AnyInput(), rate=rung.candidate.rate, slopes=(sector.low, sector.high),
        box_steps=None, witness=rung.candidate.witness, notes={},
    )  # fmt: skip


def examples() -> dict[str, dict[str, Any]]:
    squares = Readout([[0.1, 0.2]], W_sq=[[3.0, 0.5]], b_out=[0.01])
    boxed = EchoStateNetwork([[2.0]], W_in=[[1.0]], b=1.0)
    return {
        **{name: proof(name) for name in list(check.THEOREMS)[:4]},
        "box": certify_esp(boxed, InputBox(0.0, 0.5)).document,
        "alphabet": certify_esp(boxed, InputAlphabet([[0.0], [0.25]])).document,
        "unstable": certify_esp(
            EchoStateNetwork([[0.0, -4.4], [4.4, 0.0]], leak_rate=0.1), AnyInput()
        ).document,
        "two": certify_esp(boxed, InputBox(-2.0, 0.0)).document,
        "squares": certify_esp(
            EchoStateNetwork([[0.5, 0.0], [0.1, 0.2]], W_fb=[[1.0], [0.1]], readout=squares), Zero()
        ).document,
    }


EXAMPLES = examples()


@pytest.mark.parametrize("name", EXAMPLES)
def test_both_checkers_accept_every_kind(name: str) -> None:
    document = EXAMPLES[name]
    result = check_certificate(document)
    assert result.valid, result.reason
    assert result.verdict == document["verdict"]
    assert naive_check(document)


def test_the_examples_use_every_theorem() -> None:
    assert {d["theorem"] for d in EXAMPLES.values()} == set(check.THEOREMS)


# -- enclosures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_enclosures_hold_the_function_and_agree_with_the_series_of_the_other_checker(name: str) -> None:
    from fractions import Fraction

    from naive_certificates import slopes, values

    activation = ACTIVATIONS[name]
    phi, rng = check.ACTIVATIONS[activation.expression], np.random.default_rng(1)
    for _ in range(60):
        centre, radius = rng.normal() * 10.0 ** rng.uniform(-3, 0.8), 10.0 ** rng.uniform(-6, 0.7)
        low, high = math.floor((centre - radius) * check.ONE), math.ceil((centre + radius) * check.ONE)
        z = np.linspace(centre - radius, centre + radius, 50)[1:-1]
        ends = (Fraction(low, check.ONE), Fraction(high, check.ONE))
        pairs = (
            (phi.values_on(low, high), activation(z), values(activation.expression, *ends)),
            (phi.slopes_on(low, high), activation.slope(z), slopes(activation.expression, *ends)),
        )
        for (below, above), seen, (other_below, other_above) in pairs:
            assert below / check.ONE <= seen.min() + 1e-14
            assert above / check.ONE >= seen.max() - 1e-14
            # Two enclosures of one range must overlap; for monotone pieces they also agree closely.
            assert below / check.ONE <= float(other_above) + 1e-15
            if name != "sine":
                assert abs(below / check.ONE - float(other_below)) < 1e-15
                assert abs(above / check.ONE - float(other_above)) < 1e-15


def test_erf_constant() -> None:
    assert check.ERF**2 * check.F(31415926535897932384626433832795, 10**31) > 4
    assert (check.ERF - check.F(1, 10**18)) ** 2 * check.F(31415926535897932384626433832796, 10**31) < 4


# -- forgeries ---------------------------------------------------------------------------------------------


def leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document except the notes."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in items:
        if (*path, key) != ("notes",):
            yield (*path, key)
            yield from leaves(child, (*path, key))


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    forged = copy.deepcopy(document)
    at(forged, path[:-1])[path[-1]] = value
    return forged


def accepted(document: Any) -> bool:
    try:
        return check_certificate(document).valid
    except InvalidInputError:
        return False


@pytest.mark.parametrize("name", EXAMPLES)
def test_missing_renamed_added_and_mistyped_fields_are_rejected(name: str) -> None:
    document = EXAMPLES[name]
    for path in leaves(document):
        parent = at(document, path[:-1])
        for value in (None, [], {}, "x", 7, True, 0.5, ["box"], {"kind": "any"}):
            if value != parent[path[-1]] or type(value) is not type(parent[path[-1]]):
                forged = replaced(document, path, value)
                verdict = accepted(forged)
                assert verdict == naive_check(forged), (path, value)
                # Fewer steps may still lead into a box with these slopes; nothing else can be changed.
                assert not verdict or path == ("slopes", "steps"), (path, value)
        if isinstance(parent, dict):
            forged = copy.deepcopy(document)
            del at(forged, path[:-1])[path[-1]]
            assert not accepted(forged), path
            forged = copy.deepcopy(document)
            at(forged, path[:-1])[str(path[-1]) + "_"] = 1
            assert not accepted(forged), path


def test_every_flipped_bit_of_a_number_is_rejected_or_still_true() -> None:
    """Both checkers must agree on every forgery; a changed network must fail by its hash."""
    rng, survivors = np.random.default_rng(0), 0
    for name, document in EXAMPLES.items():
        places = [p for p in leaves(document) if p[-1] == "data"]
        for path in places:
            data = base64.b64decode(at(document, path))
            for bit in rng.choice(8 * len(data), min(10, 8 * len(data)), replace=False):
                changed = bytearray(data)
                changed[bit // 8] ^= 1 << (bit % 8)
                forged = replaced(document, path, base64.b64encode(bytes(changed)).decode())
                verdict = accepted(forged)
                assert verdict == naive_check(forged), (name, path, bit)
                if path[0] == "network":
                    assert not verdict
                survivors += verdict
    # A low bit of a weight of the norm changes nothing: the statement with it is true too.
    assert survivors > 0


def test_a_better_rate_or_a_larger_claim_is_rejected() -> None:
    for name in list(check.THEOREMS)[:4]:
        rate = float.fromhex(EXAMPLES[name]["claim"]["rate"])
        for value in (rate * 0.5, 0.0, 1.0, -rate, 2.0, float("nan"), float("inf")):
            assert not accepted(replaced(EXAMPLES[name], ("claim", "rate"), value.hex())), (name, value)
        assert not accepted(replaced(EXAMPLES[name], ("slopes", "high"), array_section(np.full(3, 0.99))))
        assert not accepted(replaced(EXAMPLES[name], ("slopes", "low"), array_section(np.full(3, 0.01))))
    low, high = array_section(np.array([-3.0])), array_section(np.array([0.5]))
    wider = {"kind": "box", "low": low, "high": high}
    assert not accepted(replaced(EXAMPLES["box"], ("claim", "inputs"), wider))
    assert not accepted(replaced(EXAMPLES["box"], ("claim", "inputs"), {"kind": "any"}))
    assert not accepted(replaced(EXAMPLES["box"], ("slopes", "steps"), 0))
    assert not accepted(replaced(EXAMPLES["two"], ("claim", "inputs"), wider | {"low": wider["high"]}))


def test_another_network_with_its_own_hash_is_rejected() -> None:
    document = EXAMPLES["diagonal-schur"]
    W = np.frombuffer(base64.b64decode(document["network"]["W"]["data"])).reshape(3, 3)
    a = np.array([0.5, 0.75, 1.0])
    for other in (
        EchoStateNetwork(3.0 * W, leak_rate=a),
        EchoStateNetwork(W, leak_rate=a, activation="sine"),
    ):
        section = network_section(other)
        forged = replaced(document, ("network",), section)
        # The sine has slopes in [-1, 1]: the claimed range [0, 1] does not hold them.
        assert not accepted(forged)
        assert not naive_check(forged)


# -- alone, without flint, from the command line -----------------------------------------------------------


def run(arguments: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, **more)


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """The checker as a lone file in an empty folder where esntools and flint cannot be imported."""
    shutil.copy(CHECKER, tmp_path / "check.py")
    (tmp_path / "flint.py").write_text("raise ImportError\n")
    return tmp_path


def test_it_runs_alone_without_flint(alone: Path) -> None:
    assert "esntools" not in {line.split()[1].split(".")[0] for line in imports(CHECKER)}
    for name, code in (("diagonal-schur", 0), ("incremental-lurie", 0), ("perron-weights", 0), ("box", 3)):
        path = alone / f"{name}.json"
        path.write_text(json.dumps(EXAMPLES[name]))
        result = run(["-S", "check.py", path.name], cwd=alone)
        assert result.returncode == code, result.stdout + result.stderr
        assert len(result.stdout.splitlines()) == 1


def imports(path: Path) -> list[str]:
    lines = [line.strip() for line in path.read_text().splitlines()]
    return [line for line in lines if line.startswith(("import ", "from ")) and "__future__" not in line]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, 2), ("", 2), ("{", 2), ("[]", 2), ("7", 2), ('{"format": "other"}', 2), (b"\xff\xfe\x00", 2),
        ('{"format": "esntools-certificate", "version": 2}', 3),
        ('{"format": "esntools-certificate", "version": true}', 3),
        ('{"format": "esntools-certificate", "version": 1}', 1),
        ('{"format": "esntools-certificate", "format": "esntools-certificate"}', 1),
        ('{"format": "esntools-certificate", "version": NaN}', 1),
        ('{"format": "esntools-certificate", "version": -Infinity}', 1),
        ('{"format": "esntools-certificate", "version": ' + "1" * 5000 + "}", 1),
        ('{"format": ' + "[" * 100000, 1),
    ],
)  # fmt: skip
def test_what_is_not_a_certificate(
    content: str | bytes | None, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert check.main([str(path)]) == code
    output = capsys.readouterr()
    assert len((output.out + output.err).splitlines()) == 1


def test_a_sparse_array_of_absurd_size_is_not_filled_up() -> None:
    empty = {"type": "f8", "data": "", "rows": "", "columns": ""}
    forged = copy.deepcopy(EXAMPLES["alphabet"])
    forged["network"] |= {"n_units": 4000, "n_inputs": 10**6, "W_in": empty | {"shape": [4000, 10**6]}}
    forged["network"]["W"] = empty | {"shape": [4000, 4000]}
    start = time.perf_counter()
    assert check_certificate(forged).verdict == "undecided"
    assert time.perf_counter() - start < 30.0


def test_a_terminal_without_unicode_and_the_precision_of_flint_are_respected(alone: Path) -> None:
    import flint

    before = flint.ctx.prec
    assert check_certificate(EXAMPLES["box"]).valid
    assert flint.ctx.prec == before
    path = alone / "c.json"
    path.write_text(json.dumps({"format": "esntools-certificate", "version": "zw\u00f6lf"}))
    result = run(["-S", "check.py", path.name], cwd=alone, env={"PYTHONIOENCODING": "ascii"})
    assert result.returncode == 3, result.stdout + result.stderr


def test_outcomes_by_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.json"
    for name, document in EXAMPLES.items():
        path.write_text(json.dumps(document))
        assert check.main([str(path)]) == 0, name
        path.write_text(json.dumps(document)[:-100])
        assert check.main([str(path)]) == 2, name
    assert check.main([]) == 2
    assert check.main([str(tmp_path)]) == 2
    capsys.readouterr()
    result = run(["-m", "esntools.certificates.check", str(path)])
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1


def test_check_certificate_names_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no\.json"):
        check_certificate(tmp_path / "no.json")
    (tmp_path / "text.json").write_text("hello")
    with pytest.raises(InvalidInputError, match="not JSON"):
        check_certificate(tmp_path / "text.json")
    (tmp_path / "good.json").write_text(json.dumps(EXAMPLES["two"]))
    assert check_certificate(tmp_path / "good.json").valid
