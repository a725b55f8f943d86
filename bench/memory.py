"""How much memory each function should have: its time and price at each size.

Lambda gives a function a share of a processor: a whole one at 1769 MB. So its time is what it waits for, which no
memory shortens, and what it computes, which takes as much longer as the share is smaller. Both are measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from bench.costs import MEMORY_GB, PRICES

SIZES_MB = (128, 256, 512, 1024, 1769)
WHOLE_PROCESSOR_MB = 1769  # AWS Lambda Developer Guide, "Configure Lambda function memory"
INVOCATIONS = {"SubmitFunction": 2, "PollFunction": 1, "FinalizeFunction": 1}


class Work(NamedTuple):
    """What a function does for a pair: seconds that it waits, and seconds of a whole processor."""

    waits: float
    computes: float

    def seconds(self, megabytes: float) -> float:
        """What an execution takes with so much memory."""
        return self.waits + self.computes * self.slowness(megabytes)

    def usd_per_1000(self, megabytes: float) -> float:
        """The price of a thousand pairs, of Lambda's time alone."""
        return 1000 * self.seconds(megabytes) * megabytes / 1024 * PRICES["lambda_gb_second"]

    @staticmethod
    def slowness(megabytes: float) -> float:
        """By how much computing is slower than on a whole processor; none of it can use more than one."""
        return max(1.0, WHOLE_PROCESSOR_MB / megabytes)


def works(parts: Mapping[str, Any]) -> dict[str, Work]:
    """By function, from the figures of `cloud` (computing) and `calls` (waiting); empty while one is missing."""
    if not {"cloud", "calls"} <= parts.keys():
        return {}
    steady = parts["calls"]["steady"]
    waits = steady[max(steady, key=int)]["lambda_ms"]
    taken = parts["cloud"]["functions"]
    return {name: Work(waits[name] / 1000, INVOCATIONS[name] * one["processor_s"]) for name, one in taken.items()}


def text(parts: Mapping[str, Any]) -> str:
    """The section of report.md."""
    found = works(parts)
    if not found:
        return ""
    rows = "\n".join(
        f"| {size:,} | " + " | ".join(cell for name, work in found.items() for cell in _cells(name, work, size)) + " |"
        for size in SIZES_MB
    )
    head = " | ".join(f"{name.removesuffix('Function')}: s computing | USD per 1,000" for name in found)
    taken = parts["cloud"]["functions"]
    peaks = ", ".join(f"{name.removesuffix('Function')} {one['peak_mb']:.0f} MB" for name, one in taken.items())
    waits = ", ".join(f"{name.removesuffix('Function')} {work.waits:.1f} s" for name, work in found.items())
    return _TEXT.format(rows=rows, head=head, rule="--:|" * (2 * len(found)), peaks=peaks, waits=waits)


def _cells(name: str, work: Work, size: int) -> Iterator[str]:
    chosen = "**" if size == MEMORY_GB[name] * 1024 else ""
    yield f"{chosen}{work.computes * work.slowness(size):.2f}{chosen}"
    yield f"{chosen}{work.usd_per_1000(size):.3f}{chosen}"


_TEXT = """\
## Memory

Lambda gives a function a share of a processor that grows with its memory, a whole one at 1,769 MB. For a pair, a
function waits for others, whatever its memory ({waits}),
and computes: that was measured in real time on the embedded cloud, with this machine's processor, warm, and without
the encryption that AWS wants. So computing costs the same at every size, and waiting the more, the larger the
function is. At their peak the processes held {peaks}. In bold what `template.yaml` says.

| MB | {head} |
|--:|{rule}
{rows}
"""
