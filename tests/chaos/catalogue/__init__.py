"""The deliberate mistakes, by what they are about, each with the stories that should find it."""

from __future__ import annotations

from tests.chaos.catalogue.announcing import ANNOUNCING
from tests.chaos.catalogue.answers import ANSWERS
from tests.chaos.catalogue.claims import CLAIMS
from tests.chaos.catalogue.delivery import DELIVERY
from tests.chaos.catalogue.ledger import LEDGER
from tests.chaos.catalogue.operator import OPERATOR
from tests.chaos.catalogue.references import REFERENCES
from tests.chaos.catalogue.throttle import THROTTLE
from tests.chaos.catalogue.timeouts import TIMEOUTS
from tests.chaos.catalogue.waiting import WAITING
from tests.chaos.catalogue.workflow import WORKFLOW
from tests.chaos.mutants import Mutant

AREAS = {
    "claims": CLAIMS,
    "the ledger": LEDGER,
    "the vendor's answers": ANSWERS,
    "throttle": THROTTLE,
    "waiting": WAITING,
    "references": REFERENCES,
    "delivery": DELIVERY,
    "announcing": ANNOUNCING,
    "the operator's commands": OPERATOR,
    "time-outs": TIMEOUTS,
    "the workflow": WORKFLOW,
}
MUTANTS: tuple[Mutant, ...] = tuple(mutant for mutants in AREAS.values() for mutant in mutants)
