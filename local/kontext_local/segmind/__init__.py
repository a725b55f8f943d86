"""An emulator of the Segmind API: the vendor as a state machine, and a server around it.

`Segmind` is the vendor itself, with a clock of the caller's choice; `segmind_transport` puts it behind an httpx client
in process; `start` and `serve` run it as a server (`python -m kontext_local.segmind`).

service           the vendor as a state machine
settings, script  what can be set about it; scripted misbehaviour
parameters        the body of a POST, and how the vendor refuses
inputs, picture   the two photographs, fetched; the picture made of them
jobs, inference   jobs on workers, and how long a picture takes
rates, ledger     the hard rate limit; what was seen and charged
answers, shapes   what it says back, in how many shapes
padded_file       pictures of any size in bytes
transport, app, server, admin  in process, as an ASGI app, as a server; `/_emulator/`
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
