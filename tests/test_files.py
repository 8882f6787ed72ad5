"""Model files: what was written comes back, and nothing else is accepted."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import networks

from esntools import files
from esntools.activations import Activation
from esntools.errors import EsntoolsError, FileFormatError, InvalidInputError
from esntools.network import MODEL_FORMAT, MODEL_VERSION, EchoStateNetwork, Readout
from esntools.series import read_series

NETWORK = EchoStateNetwork(
    scipy.sparse.csr_array([[0.5, 0.0], [0.0, -0.25]]),
    W_in=[[1.0], [2.0]],
    b=0.125,
    leak_rate=0.5,
    readout=Readout([[1.0, -1.0]], [[0.0, 3.0]], [0.5]),
    W_fb=[[0.1], [0.2]],
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.npz"
    NETWORK.save(path)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rewrite(path: Path, change: Any, *, seal: bool = True) -> None:
    """Apply `change(header, arrays)` to a model file; `seal` writes the checksum of the result."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(arrays.pop("header").tobytes())
    checksum = header.pop("checksum")
    change(header, arrays)
    if seal:
        files.write_npz(path, header, arrays)
        return
    text = json.dumps({**header, "checksum": checksum}).encode()
    np.savez(path, header=np.frombuffer(text, dtype=np.uint8), **arrays)


# -- there and back ---------------------------------------------------------------------------------------


@given(network=networks())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_a_network_comes_back_as_it_was(tmp_path: Path, network: EchoStateNetwork) -> None:
    path = tmp_path / "model.npz"
    network.save(path)
    loaded = EchoStateNetwork.load(path)
    assert loaded == network
    assert loaded.is_sparse == network.is_sparse
    assert loaded.activation == network.activation
    for name in ("W_in", "b", "leak_rate"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(network, name))
    assert (loaded.readout is None) == (network.readout is None)


def test_a_custom_activation_comes_back(tmp_path: Path) -> None:
    network = EchoStateNetwork([[0.5]], activation=Activation.from_sympy("x/sqrt(1 + x**2)"))
    network.save(tmp_path / "m.npz")
    loaded = EchoStateNetwork.load(str(tmp_path / "m.npz"))
    assert loaded == network
    assert loaded.step([2.0]) == network.step([2.0])


def test_the_file_names_what_it_was_made_with(model: Path) -> None:
    header, arrays = files.read_npz(model, MODEL_FORMAT, MODEL_VERSION)
    assert set(header["provenance"]["versions"]) == {"python", "esntools", "numpy", "scipy", "reservoirpy"}
    assert header["network"]["content_hash"] == NETWORK.content_hash
    assert {"W_data", "W_indices", "W_indptr", "W_in", "b", "leak_rate", "W_out", "W_sq"} <= set(arrays)
    NETWORK.save(model, provenance=files.provenance(seed=3))
    assert files.read_npz(model, MODEL_FORMAT, MODEL_VERSION)[0]["provenance"]["seed"] == 3


def test_the_path_is_taken_literally_and_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_text("old")
    NETWORK.save(path)
    assert EchoStateNetwork.load(path) == NETWORK
    assert names(tmp_path) == ["model"]


def test_a_new_file_has_ordinary_permissions(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("x")
    files.write_text(tmp_path / "ours", "x")
    assert (tmp_path / "ours").stat().st_mode == plain.stat().st_mode


def test_json_refuses_what_json_has_not(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"x": [1.5, "φ"]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"x": [1.5, "φ"]}
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "b.json", {"x": float("nan")})
    assert names(tmp_path) == ["a.json"]


# -- damage -----------------------------------------------------------------------------------------------


def load_or_refuse(path: Path) -> bool:
    """Whether the file was refused, by our error and in one line; if it was not, it holds the network."""
    try:
        loaded = EchoStateNetwork.load(path)
    except EsntoolsError as error:
        assert str(path) in str(error)  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
        return True
    assert loaded == NETWORK
    return False


def test_a_file_truncated_anywhere_is_refused(model: Path) -> None:
    data = model.read_bytes()
    for length in [*range(0, 64), *range(64, len(data) - 64, 37), *range(len(data) - 64, len(data))]:
        model.write_bytes(data[:length])
        assert load_or_refuse(model), f"{length} of {len(data)} bytes were accepted"


def flip_bytes(path: Path, mask: int, offsets: range) -> None:
    data = bytearray(path.read_bytes())
    harmless = 0
    for i in offsets:
        data[i] ^= mask
        path.write_bytes(data)
        data[i] ^= mask
        harmless += not load_or_refuse(path)
    # Time stamps, attributes and the like of the zip container; `load_or_refuse` sees to the weights.
    assert harmless < 0.5 * len(offsets)


@pytest.mark.parametrize(("mask", "start"), [(0x01, 0), (0x80, 5), (0xFF, 11)])
def test_a_flipped_byte_is_refused_or_harmless(model: Path, mask: int, start: int) -> None:
    flip_bytes(model, mask, range(start, len(model.read_bytes()), 17))


@pytest.mark.slow
@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_any_byte_flipped_is_refused_or_harmless(model: Path, mask: int) -> None:
    flip_bytes(model, mask, range(len(model.read_bytes())))


@given(blob=st.binary(max_size=200))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise_is_refused(tmp_path: Path, blob: bytes) -> None:
    path = tmp_path / "noise.npz"
    path.write_bytes(blob)
    assert load_or_refuse(path)


@given(start=st.integers(0, 4000), blob=st.binary(min_size=1, max_size=40))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_overwritten_stretch_is_refused_or_harmless(tmp_path: Path, start: int, blob: bytes) -> None:
    path = tmp_path / "model.npz"
    NETWORK.save(path)
    data = bytearray(path.read_bytes())
    start = min(start, len(data) - 1)
    data[start : start + len(blob)] = blob
    path.write_bytes(data)
    load_or_refuse(path)


# -- other files ------------------------------------------------------------------------------------------


def test_a_pickle_is_named_and_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "exploded",))

    for name, data in (
        ("plain.npz", pickle.dumps(Bomb())),
        ("object.npz", object_npz(Bomb())),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(FileFormatError, match="pickles are never loaded"):
            EchoStateNetwork.load(path)
    with pytest.raises(FileFormatError, match="a pickle"):
        EchoStateNetwork.load(tmp_path / "plain.npz")
    assert not (tmp_path / "exploded").exists()


def object_npz(value: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, header=np.array([value], dtype=object))
    return buffer.getvalue()


def test_a_model_file_cannot_carry_code(model: Path, tmp_path: Path) -> None:
    """The expression of a custom activation is text from a stranger."""
    target = tmp_path / "exploded"
    for code in (
        f"__import__('pathlib').Path({str(target)!r}).touch() or x",
        f"open({str(target)!r}, 'w').close() or x",
        "().__class__.__bases__[0].__subclasses__()",
        "[c for c in (1,)]",
        "lambda: x",
    ):
        rewrite(model, lambda header, _, code=code: header["network"].update(
            activation={"name": "custom", "expression": code}
        ))  # fmt: skip
        with pytest.raises(EsntoolsError):
            EchoStateNetwork.load(model)
        assert not target.exists()


def test_other_kinds_of_file_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "stranger.npz", W=np.eye(2))
    np.save(tmp_path / "array.npy", np.eye(2))
    (tmp_path / "series.csv").write_text("t,x\n0,1\n")
    (tmp_path / "empty.npz").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("header.npy", "not an array")
    with zipfile.ZipFile(tmp_path / "nothing.npz", "w"):
        pass
    for header in (b"[]", b"null", b"\xff", b'"text"', b"{}", b'{"format": 1}'):
        np.savez(tmp_path / f"header-{header.hex()}.npz", header=np.frombuffer(header, dtype=np.uint8))
    for path in tmp_path.iterdir():
        with pytest.raises(FileFormatError, match="esntools-model"):
            EchoStateNetwork.load(path)
    with pytest.raises(FileFormatError, match="no such file"):
        EchoStateNetwork.load(tmp_path / "missing.npz")
    with pytest.raises(FileFormatError, match="a folder"):
        EchoStateNetwork.load(tmp_path)
    with pytest.raises(FileFormatError):
        EchoStateNetwork.load(tmp_path / "series.csv" / "model.npz")


def test_a_header_nested_without_end_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", header=np.frombuffer(b"[" * 100_000, dtype=np.uint8))
    with pytest.raises(FileFormatError, match="no esntools header"):
        EchoStateNetwork.load(tmp_path / "m.npz")


def test_an_array_that_claims_more_than_there_is_is_refused(tmp_path: Path) -> None:
    claim = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999,), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr("W.npy", b"\x93NUMPY\x01\x00v\x00" + claim + b"0" * 100)
    with pytest.raises(FileFormatError, match="not a readable npz file"):
        EchoStateNetwork.load(tmp_path / "m.npz")
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00" + claim + b"0" * 100)
    with pytest.raises(FileFormatError, match="claims more numbers than fit into memory"):
        read_series(tmp_path / "x.npy")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "target.npz").write_bytes(b"old")
    (tmp_path / "link.npz").symlink_to("target.npz")
    NETWORK.save(tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink()
    assert EchoStateNetwork.load(tmp_path / "target.npz") == NETWORK


@pytest.mark.parametrize("version", [MODEL_VERSION + 1, 10**9, 0, -1, 1.5, "1", None])
def test_another_version_is_refused(model: Path, version: object) -> None:
    rewrite(model, lambda header, _: header.update(version=version))
    remedy = "upgrade esntools" if version in (MODEL_VERSION + 1, 10**9) else "restore the original file"
    with pytest.raises(FileFormatError, match=f"version {version!r}; .*reads versions up to 1; {remedy}"):
        EchoStateNetwork.load(model)


def test_another_format_is_refused(model: Path) -> None:
    rewrite(model, lambda header, _: header.update(format="esntools-certificate"))
    with pytest.raises(FileFormatError, match="format 'esntools-certificate'"):
        EchoStateNetwork.load(model)


@pytest.mark.parametrize(
    "change",
    [
        lambda header, arrays: arrays["b"].__setitem__(0, 1.0),
        lambda header, arrays: arrays.update(W_in=-arrays["W_in"]),
        lambda header, arrays: arrays.update(b=arrays["b"].astype(np.float32)),
        lambda header, arrays: arrays.update(more=np.zeros(1)),
        lambda header, arrays: arrays.pop("W_fb"),
        lambda header, arrays: header["provenance"].update(seed=1),
        lambda header, arrays: header["network"]["activation"].update(name="erf"),
    ],
)
def test_a_change_without_its_checksum_is_refused(model: Path, change: Any) -> None:
    rewrite(model, change, seal=False)
    with pytest.raises(FileFormatError, match="checksum differs"):
        EchoStateNetwork.load(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header, arrays: arrays.update(b=np.array([0.125, 0.25])), "content hash differs"),
        (lambda header, arrays: header["network"]["activation"].update(name="erf"), "content hash differs"),
        (lambda header, arrays: arrays.pop("W_fb"), "content hash differs"),
        (lambda header, arrays: header.pop("network"), "missing 'network'"),
        (lambda header, arrays: header["network"].pop("content_hash"), "missing 'content_hash'"),
        (lambda header, arrays: header.update(network=[]), "model file"),
        (lambda header, arrays: header["network"].update(activation="tanh"), "model file"),
        (lambda header, arrays: header["network"]["activation"].update(name=[]), "model file"),
        (lambda header, arrays: arrays.pop("W_data"), "missing 'W_data'"),
        (lambda header, arrays: arrays.pop("b"), "missing 'b'"),
        (lambda header, arrays: arrays.update(b=np.array(0.5)), "model file"),
        (lambda header, arrays: arrays.update(b=np.array([0.125, np.nan])), r"b\[1\]: nan"),
        (lambda header, arrays: arrays.update(b=np.array(["a", "b"])), "b: .*real numbers"),
        (lambda header, arrays: arrays.update(W_data=np.array([0.5, np.inf])), "W: .*finite"),
        (lambda header, arrays: arrays.update(W_indices=np.array([0, 10**6])), "W|model file"),
        (lambda header, arrays: arrays.update(W_indices=np.array([0, -3])), "W|model file"),
        (lambda header, arrays: arrays.update(W_indptr=np.array([0, 9, 2])), "W|model file"),
        (lambda header, arrays: arrays.update(W_indptr=np.array([0, 2])), "W|model file"),
        (lambda header, arrays: arrays.update(W_in=np.ones((3, 1))), "W_in: shape"),
        (lambda header, arrays: arrays.update(leak_rate=np.array([0.5, 2.0])), r"leak_rate\[1\]"),
        (lambda header, arrays: header["network"]["activation"].update(name="tahn"), "did you mean 'tanh'"),
    ],
)
def test_a_sealed_file_that_is_no_network_is_refused(model: Path, change: Any, message: str) -> None:
    rewrite(model, change)
    with pytest.raises((FileFormatError, InvalidInputError), match=message):
        EchoStateNetwork.load(model)


# -- writing ----------------------------------------------------------------------------------------------


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for path in (
        tmp_path / "missing" / "model.npz",
        tmp_path / "file" / "model.npz",
        tmp_path / "folder",
        tmp_path / ("n" * 300),
        tmp_path / "nul\0byte",
    ):
        with pytest.raises(InvalidInputError, match="the output path must be writable") as caught:
            NETWORK.save(path)
        assert caught.value.place == str(path)
    assert names(tmp_path) == ["file", "folder"]
    assert names(tmp_path / "folder") == []


def test_a_folder_without_write_permission_is_refused(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(InvalidInputError, match="Permission denied"):
        NETWORK.save(tmp_path / "model.npz")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("moment", ["write", "chmod", "replace"])
@pytest.mark.parametrize("cause", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interrupted_write_leaves_the_old_file(
    model: Path, monkeypatch: pytest.MonkeyPatch, moment: str, cause: BaseException
) -> None:
    before = model.read_bytes()

    def fail(*_: Any, **__: Any) -> Any:
        raise cause

    if moment == "write":
        real = os.fdopen

        class Half:
            def __init__(self, *arguments: Any) -> None:
                self.stream = real(*arguments)

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: Any) -> None:
                self.stream.close()

            def write(self, data: bytes) -> None:
                self.stream.write(data[:100])
                raise cause

        monkeypatch.setattr(os, "fdopen", Half)
    else:
        monkeypatch.setattr(Path, moment, fail)
    expected = InvalidInputError if isinstance(cause, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        EchoStateNetwork([[0.5]]).save(model)
    monkeypatch.undo()
    assert model.read_bytes() == before
    assert names(model.parent) == ["model.npz"]
    assert EchoStateNetwork.load(model) == NETWORK
