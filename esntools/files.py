"""Files that are never half-written and never trusted: atomic writes, npz with a JSON header, no pickle."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from esntools._typing import Document
from esntools.errors import FileFormatError, InvalidInputError

__all__ = ["is_special", "provenance", "read_npz", "write_bytes", "write_json", "write_npz", "write_text"]


#: Names for files that are open in this process.
_OPEN_FILE: Final = re.compile(r"/dev/(?:fd/|std(?=out|err))(\d+|out|err)")


def is_special(path: Path) -> bool:
    """Return whether a device, a pipe or a socket stands there, or a name for an open file (/dev/stdout)."""
    if path.parts[:2] in (("/", "dev"), ("/", "proc")) and path.exists():
        # /dev/stdout may lead to somebody's log: to rename over it would throw away what is in it.
        return not path.is_dir()
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` in one step: a temporary name beside it, then a rename.

    A link stays a link: what it points to is written. A device or a pipe is written to, never replaced.

    Raises
    ------
    InvalidInputError
        When the folder is missing or cannot be written.
    """
    path = Path(path)
    if is_special(path):
        # Renaming a file over /dev/null would take it away from every program on the machine.
        try:
            # An open file is written to where it stands; opened anew, it would be overwritten.
            open_file = _OPEN_FILE.fullmatch(str(path))
            descriptor = None if open_file is None else {"out": 1, "err": 2}.get(open_file[1], open_file[1])
            with (
                path.open("ab") if descriptor is None else os.fdopen(os.dup(int(descriptor)), "wb") as stream
            ):
                stream.write(data)
        except OSError as error:
            raise InvalidInputError(
                str(path), error.strerror or str(error), "the output path must be writable",
                "choose another with -o",
            ) from None  # fmt: skip
        return
    try:
        path = Path(os.path.realpath(path)) if path.is_symlink() else path
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            str(path), getattr(error, "strerror", None) or str(error), "the output path must be writable",
            "make the folder, or choose another with -o",
        ) from None  # fmt: skip
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        # mkstemp makes the file private; give it the permissions that a plain open() would have.
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise InvalidInputError(
            str(path), error.strerror or str(error), "the output path must be writable",
            "free some space, or choose another with -o",
        ) from None  # fmt: skip
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, document: Document) -> None:
    """Write `document` as indented JSON, atomically; NaN and infinities are refused."""
    write_text(path, json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def provenance(**more: Any) -> Document:
    """Return the versions that a file was made with, and whatever else the caller knows (seed, source)."""
    versions = {"python": platform.python_version()}
    for package in ("esntools", "numpy", "scipy", "reservoirpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "unknown"
    return {"versions": versions, **more}


def _digest(header: Document, arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True, allow_nan=False).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def write_npz(path: str | Path, header: Document, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays and a JSON header (with a checksum over both) as one npz, atomically.

    The header must name its ``format`` and ``version``.
    """
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    text = json.dumps({**header, "checksum": _digest(header, arrays)}, sort_keys=True, allow_nan=False)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        header=np.frombuffer(text.encode(), dtype=np.uint8),
        **arrays,
    )
    write_bytes(path, buffer.getvalue())


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(2)
    except OSError:
        return b""


def read_npz(path: str | Path, format_: str, newest: int) -> tuple[Document, dict[str, NDArray[Any]]]:
    """Read a file made by `write_npz` and check its format, version and checksum.

    Raises
    ------
    FileFormatError
        When it is missing, not an npz, truncated, altered, a pickle, of another format, or newer.
    """
    path = Path(path)
    place = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            if broken is not None:
                raise FileFormatError(place, f"{broken} is corrupt", "every member must match its checksum")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise FileFormatError(place, "no such file", f"expected a file of format {format_!r}") from None
    except IsADirectoryError:
        raise FileFormatError(place, "a folder", f"expected a file of format {format_!r}") from None
    except FileFormatError:
        raise
    # What zipfile and numpy raise on damaged members, RuntimeError being "encrypted" and its subclass
    # NotImplementedError an unknown compression.
    # MemoryError is an array whose header claims more than there is.
    except (
        zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, KeyError, RuntimeError, MemoryError,
    ):  # fmt: skip
        start = _first_bytes(path)
        what = (
            "a pickle"
            if start[:1] == b"\x80"
            else "not a readable npz file (truncated, altered or another kind)"
        )
        raise FileFormatError(
            place, what, f"expected a file of format {format_!r}; pickles are never loaded",
            "write it again with esntools",
        ) from None  # fmt: skip

    try:
        header = json.loads(arrays.pop("header").tobytes().decode())
        found, version_, checksum = header["format"], header["version"], header.pop("checksum")
    except (KeyError, ValueError, AttributeError, TypeError, RecursionError):
        raise FileFormatError(place, "no esntools header", f"expected a file of format {format_!r}") from None
    if found != format_:
        raise FileFormatError(place, f"format {found!r}", f"expected format {format_!r}")
    if not isinstance(version_, int) or not 1 <= version_ <= newest:
        raise FileFormatError(
            place,
            f"format version {version_!r}",
            f"this esntools reads versions up to {newest}",
            "upgrade esntools"
            if isinstance(version_, int) and version_ > newest
            else "restore the original file",
        )
    if _digest(header, arrays) != checksum:
        raise FileFormatError(
            place, "checksum differs", "contents must be as they were written", "restore the original file"
        )
    return header, arrays
