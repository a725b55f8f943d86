"""`make fuzz`: every target for its share of FUZZ_SECONDS (600), two at a time; ends with what was found.

Coverage-guided by atheris (libFuzzer). The inputs that reach new code are kept in `corpora`.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz import corpus
from tests.fuzz.targets import TARGETS

AT_A_TIME = 2
MOST_KEPT = 400
LIMITS = ("-max_len=4096", "-timeout=10", "-rss_limit_mb=1024")


def main() -> int:
    """Fuzz the targets named in the arguments, or all."""
    names = sys.argv[1:] or list(TARGETS)
    try:
        import atheris  # noqa: F401
    except ImportError:
        print("make fuzz needs atheris, which there is for Linux on x86-64 only.", file=sys.stderr)
        return 1
    budget = float(os.environ.get("FUZZ_SECONDS", "600"))
    share = max(1, int(budget * AT_A_TIME / len(names)))
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        findings = sum(pool.map(lambda name: fuzz(name, share), names))
    print(f"targets: {len(names)}, seconds each: {share}, findings: {findings}")
    return 1 if findings else 0


def fuzz(name: str, seconds: int) -> int:
    """Fuzz one target for so long; keeps what was learned, and returns the number of findings (0 or 1)."""
    known = corpus.read(name)
    with tempfile.TemporaryDirectory(prefix="kontext-fuzz-") as folder:
        seeds, found = Path(folder) / "seeds", Path(folder) / "found"
        for part in (seeds, found):
            part.mkdir()
        for number, content in enumerate(known):
            (seeds / str(number)).write_bytes(content)
        run = _libfuzzer(name, folder, f"-max_total_time={seconds}", *LIMITS, found, seeds)
        if run.returncode == 0:
            new = sorted({file.read_bytes() for file in found.iterdir()} - set(known), key=len)
            corpus.write(name, [*known, *new[: max(0, MOST_KEPT - len(known))]])
            print(f"{name}: {_last_words(run.stderr)}, {len(new)} inputs that reach more than those known", flush=True)
            return 0
        bad = [base64.b64encode(file.read_bytes()).decode() for file in Path(folder).glob("*-*")]
        print(f"{name}: FOUND {' '.join(bad)}\n{run.stdout[-3000:]}\n{run.stderr[-3000:]}", flush=True)
        return 1


def _libfuzzer(name: str, folder: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz.guided", name, f"-artifact_prefix={folder}/", *arguments]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)


def _last_words(log: str) -> str:
    lines = [line for line in log.splitlines() if "exec/s" in line or line.startswith("Done")]
    return lines[-1].strip() if lines else "no word"


if __name__ == "__main__":
    sys.exit(main())
