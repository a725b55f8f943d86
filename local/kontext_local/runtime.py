"""What a function finds on the embedded cloud: Python and boto3, as in Lambda's own runtime, and its layers.

MiniStack would let a function import whatever is installed for development. On AWS such an import fails. Here it
would succeed, and a third of a function's start went into what others import because it is there.
"""

from __future__ import annotations

import importlib.util
import venv
from pathlib import Path

PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six")
"""boto3 and what it needs, by their names in Python. Lambda's own runtime client and its packages are left out: no
function imports them. https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html"""


def make(folder: Path) -> Path:
    """A virtual environment in `folder` that has these packages alone; returns its Python."""
    venv.create(folder, symlinks=True)
    for script in folder.glob("bin/[Aa]ctivate*"):
        script.unlink()  # it can be read by everybody, and nobody needs it
    (packages,) = folder.glob("lib/python*/site-packages")
    link_packages(packages)
    return folder / "bin" / "python"


def link_packages(folder: Path) -> None:
    """Let `folder` hold the packages as they are installed beside this Python."""
    for name in PACKAGES:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:
            raise ImportError(f"{name} is not installed")
        file = Path(found.origin)
        source = file.parent if file.name == "__init__.py" else file
        (folder / source.name).symlink_to(source)
