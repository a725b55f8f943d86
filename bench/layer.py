"""How large the layers and functions are that `sam deploy` uploads."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

from bench.part import Part
from kontext_local import deploy

ARTIFACTS = ("DependenciesLayer", "KontextLayer", "SubmitFunction", "SweepFunction", "PollFunction", "FinalizeFunction")


def measure() -> Part:
    """Builds as `kontext up` and `sam build` do, and zips as `sam deploy` does."""
    folder = built()
    sizes = {name: zipped(folder / name) / 1e6 for name in ARTIFACTS}
    rows = "\n".join(f"| {name} | {megabytes:.2f} |" for name, megabytes in sizes.items())
    return Part(
        summary={"layer_zip_mb": sizes["DependenciesLayer"]},
        figures={"zip_mb": sizes},
        text=f"## What is uploaded\n\n| | MB zipped |\n|---|--:|\n{rows}",
    )


def built() -> Path:
    """The folder that holds what `sam build` has made of these sources."""
    with tempfile.TemporaryDirectory() as folder:
        return deploy.build(Path(folder) / "sam.log").parent


def zipped(folder: Path) -> int:
    """The bytes of a folder's archive."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder))
    return len(archive.getvalue())
