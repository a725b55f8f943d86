"""Where a picture is saved: tried before anything is paid for it, written beside the place and put there when whole."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from kontext_cli.errors import CommandError

RESERVED_BYTES = 4 * 2**20
"""About what a picture has: a disk that has no room for it is noticed while nothing is paid."""
STEM_BYTES = 200
NOWHERE = ("", "-")
"""What an unset variable leaves, and what other tools take for standard output."""


class Destination:
    """The place for one picture, as a context: a file, or a folder (the current one, if None) for a file of a name.

    A file that is named is replaced, as `cp` does it; in a folder none is. Raises CommandError on entering if nothing
    can be saved there; whatever was made for it is taken away on leaving.
    """

    def __init__(self, asked: str | None, name: str, inputs: Iterable[Path] = ()) -> None:
        self.asked = asked
        self.path = Path(asked or ".")
        self.name = name
        self.inputs = tuple(inputs)
        self.is_folder = (asked or ".").endswith(("/", os.sep))
        self.draft: Path | None = None
        self.made: list[Path] = []

    def __enter__(self) -> Destination:
        try:
            self._try()
        except BaseException as problem:
            self.__exit__()
            if not isinstance(problem, OSError):
                raise
            where = f" ({problem.filename})" if problem.filename else ""
            raise CommandError(f"Nothing can be saved as {self.path}: {problem.strerror}{where}.") from problem
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            if self.draft:
                self.draft.unlink(missing_ok=True)
            for folder in self.made:
                folder.rmdir()

    def _try(self) -> None:
        self.is_folder = self.is_folder or self.path.is_dir()
        self._check()
        # A link stays, and what it leads to is replaced.
        folder = self.path if self.is_folder else self.path.resolve().parent
        self._make_folder(folder)
        self.draft = folder / f".kontext-{secrets.token_hex(4)}"
        with self.draft.open("xb") as file:
            file.write(bytes(RESERVED_BYTES))

    def _check(self) -> None:
        if self.asked in NOWHERE:
            raise CommandError(f"--output is {self.asked!r}: a picture is saved as a file, or in a folder.")
        if self.is_folder:
            return
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return
        if not stat.S_ISREG(there.st_mode) or _is_standard_output(there):
            raise CommandError(f"Nothing can be saved as {self.path}: it is neither a file nor a folder.")
        if any(self.path.samefile(given) for given in self.inputs if given.exists()):
            raise CommandError(f"The picture would replace the photograph {self.path}: choose another file.")
        if not os.access(self.path, os.W_OK):
            raise PermissionError(0, "Permission denied", str(self.path))

    def _make_folder(self, folder: Path) -> None:
        if not folder.exists():
            self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            self.made.insert(0, folder)

    def save(self, suffix: str, write: Callable[[BinaryIO], object]) -> Path:
        """Let `write` write the picture, and put it into its place; returns where that is."""
        assert self.draft, "only within the context"  # noqa: S101
        with self.draft.open("wb") as file:
            write(file)
        path = free_path(self.path, self.name, suffix) if self.is_folder else self.path
        if path.exists():
            shutil.copymode(path, self.draft)
        self.draft.replace(path.resolve())
        return path.absolute()


def other_kind(path: Path, suffix: str) -> str:
    """What is to be said of a picture that was saved under the extension of another kind."""
    named = path.suffix.lower()
    kind = ".jpg" if named in (".jpeg", ".jpe", ".jfif") else named
    return f", and it is a {suffix[1:]}" if kind in (".png", ".jpg", ".webp") and kind != suffix else ""


def _is_standard_output(there: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(there, os.fstat(1))
    return False


def free_path(folder: Path, name: str, suffix: str) -> Path:
    """A file in a folder that does not exist yet, named after a drop."""
    stem = name.replace("/", "-").encode()[:STEM_BYTES].decode(errors="ignore")
    candidates = (folder / f"{stem}{number}{suffix}" for number in ("", *(f"-{n}" for n in range(2, 10_000))))
    return next(path for path in candidates if not path.exists())
