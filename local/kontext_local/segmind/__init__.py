"""An emulator of the Segmind API: the vendor as a state machine, and a server around it.

`Segmind` is the vendor itself (`service`), with a clock of the caller's choice; `segmind_transport` puts it
behind an httpx client in process; `start` and `serve` run it as a server (`python -m
kontext_local.segmind`).
"""

from kontext_local.segmind.answers import Answer
from kontext_local.segmind.inference import Bimodal, Listed, Lognormal
from kontext_local.segmind.jobs import BadInput, Picture
from kontext_local.segmind.ledger import Ledger
from kontext_local.segmind.parameters import Parameters
from kontext_local.segmind.script import Rule
from kontext_local.segmind.service import Segmind
from kontext_local.segmind.settings import Settings
from kontext_local.segmind.transport import segmind_transport

__all__ = [
    "Answer",
    "BadInput",
    "Bimodal",
    "Ledger",
    "Listed",
    "Lognormal",
    "Parameters",
    "Picture",
    "Rule",
    "Segmind",
    "Settings",
    "segmind_transport",
]
