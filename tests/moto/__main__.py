"""`make test-moto`: builds what is deployed, then runs the scenarios where there is no network but the loopback."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

import samcli

from kontext_local import deploy
from kontext_local.project import BUILD_FOLDER, ROOT

RUNTIME = ROOT / ".lambda-runtime"
EMULATORS = {"x86_64": "aws-lambda-rie-x86_64", "aarch64": "aws-lambda-rie-arm64"}
# With a process namespace nothing outlives the tests.
NAMESPACES = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


def main() -> None:
    """Replaces this process by the scenarios'."""
    if not shutil.which("unshare"):
        sys.exit("make test-moto needs Linux and its `unshare` command (util-linux), for sandboxes like Lambda's.")
    deploy.build(BUILD_FOLDER / "moto.log")
    emulator = Path(samcli.__file__).parent / "local" / "rapid" / EMULATORS[platform.machine()]
    shutil.copy(emulator, RUNTIME / "aws-lambda-rie")
    alone = [*NAMESPACES, *([] if os.geteuid() == 0 else ["--map-root-user"])]
    tests = Path(__file__).parent / "scenarios.py"
    os.chdir(ROOT)
    os.execvp(alone[0], [*alone, sys.executable, "-m", "pytest", str(tests), *sys.argv[1:]])


if __name__ == "__main__":
    main()
