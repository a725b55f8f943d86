"""One target under libFuzzer: `python -m tests.fuzz.guided TARGET [LIBFUZZER'S ARGUMENTS]`, started by `__main__`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["kontext", "tests.fuzz.targets"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()
