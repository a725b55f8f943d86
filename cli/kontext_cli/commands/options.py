"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Stack = Annotated[
    str | None,
    typer.Option(
        "--stack",
        help="`local` or a CloudFormation stack. Default: the local one if it runs, else kontext-drop.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where the picture is saved: a file, which is replaced, or a folder, where none is. Tried before anything "
        "is dropped. Default: the current folder.",
    ),
]
Inference = Annotated[
    float | None,
    typer.Option("--inference", min=0, metavar="SECONDS", help="How long the emulator works on a picture."),
]
