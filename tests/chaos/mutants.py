"""Deliberate mistakes in our own code. A proof that does not find them proves nothing.

Each is a change of the text of some modules; `hunt` plays stories in a process of its own, with the changed modules in
front of the real ones, until a promise breaks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("functions", "layers/kontext/python")
RUNS = 1500
"""So many runs of its stories must be enough to find a mistake."""


@dataclass(frozen=True)
class Mutant:
    """A mistake: in each `file` one text becomes another. `stories`: the stories that should find it."""

    name: str
    changes: tuple[tuple[str, str, str], ...]
    stories: tuple[str, ...] = ("pair",)
    first: str = ""
    """A kind of fault that each of the others comes on top of."""


SUBMIT, POLL, FINALIZE = "functions/submit.py", "functions/poll.py", "functions/finalize.py"
KONTEXT = "layers/kontext/python/kontext/"

MUTANTS = (
    Mutant(
        "a claim without a condition",
        (
            (
                KONTEXT + "renders.py",
                '"attribute_not_exists(#pk)", **render),\n                self._speaks',
                '"attribute_not_exists(#none)", **render),\n                self._speaks',
            ),
        ),
        ("told twice", "dropped again", "pair"),
    ),
    Mutant(
        "SUBMITTING after the request was sent",
        (
            (
                SUBMIT,
                "            render = self.via.renders.submitting(render, self.via.clock.now())\n"
                "        except OverLimit",
                "            pass\n        except OverLimit",
            ),
            (
                SUBMIT,
                "            request_id = self.via.segmind.submit(body)\n",
                "            request_id = self.via.segmind.submit(body)\n"
                "            render = self.via.renders.submitting(render, self.via.clock.now())\n",
            ),
        ),
    ),
    Mutant(
        "a request sent again when its answer is lost",
        ((KONTEXT + "segmind.py", "@_door(Ambiguous)", "@_door(Unavailable)"),),
        ("the answer is lost", "pair"),
    ),
    Mutant(
        "a gateway's time-out taken for a refusal",
        ((KONTEXT + "segmind.py", "(408, 425, 500, 502, 503)", "(408, 425, 500, 502, 503, 504)"),),
    ),
    Mutant(
        "executions without a name of their own",
        (
            (
                KONTEXT + "workflow.py",
                "name=execution_name(render)",
                "name=execution_name(render) + uuid.uuid4().hex[:6]",
            ),
            (KONTEXT + "workflow.py", "from typing import", "import uuid\nfrom typing import"),
        ),
        ("told twice", "pair"),
    ),
    Mutant(
        "a parked render whose message is not sent",
        ((SUBMIT, "        self.send_wake(parked)\n", "        self.send_wake(parked) if until < 0 else None\n"),),
        ("no credits", "in line"),
    ),
    Mutant(
        "a crash between park and message not mended",
        (
            (
                KONTEXT + "renders.py",
                'Claim("wake", render) if render.get("wake")',
                'Claim("nothing", render) if render.get("wake")',
            ),
        ),
        ("no credits", "429", "in line"),
    ),
    Mutant(
        "a result that replaces a newer one",
        ((FINALIZE, 'overtaken = pair is not None and pair.current != render["render_id"]', "overtaken = False"),),
        ("changed meanwhile", "changed at once"),
    ),
    Mutant(
        "a price that is not given back",
        (
            (
                KONTEXT + "renders.py",
                'refund = [self._give_back(render)] if render["status"] == "SUBMITTING" else []',
                "refund: list[Any] = []",
            ),
        ),
        ("429", "no credits"),
    ),
    Mutant(
        "a submit that the ledger does not know",
        ((KONTEXT + "renders.py", "said, reserve, **reserved)", "said, **reserved)"),),
    ),
    Mutant(
        "a message taken for done while its render is worked on",
        (
            (
                KONTEXT + "renders.py",
                '            raise Busy(render["render_id"])\n',
                '            return Claim("nothing", render)\n',
            ),
        ),
        first="twice",
    ),
    Mutant(
        "a workflow that is not started after a crash",
        (
            (
                KONTEXT + "renders.py",
                '        if status in IN_FLIGHT or status == "COMPLETED":\n            return Claim("start", render)',
                '        if status in IN_FLIGHT or status == "COMPLETED":\n            return Claim("nothing", render)',
            ),
            (
                KONTEXT + "renders.py",
                '        if render["status"] in (*IN_FLIGHT, "COMPLETED"):\n            return Claim("start", render)',
                '        if render["status"] in (*IN_FLIGHT, "COMPLETED"):\n'
                '            return Claim("nothing", render)',
            ),
        ),
    ),
    Mutant(
        "an end that is told once or never",
        (
            (
                KONTEXT + "renders.py",
                'return Claim("nothing" if told else "announce", render)',
                'return Claim("nothing", render)',
            ),
            (
                KONTEXT + "renders.py",
                'return Claim("nothing" if render.get("announced") else "announce", render)',
                'return Claim("nothing", render)',
            ),
        ),
        ("refused", "a wrong image", "the answer is lost"),
    ),
    Mutant(
        "a request_id that only the record knows",
        ((POLL, 'if render["status"] not in ("SUBMITTING", "UNCERTAIN"):', "if True:"),),
    ),
    Mutant(
        "a failed message taken for done",
        (
            (
                SUBMIT,
                "message_id, failure, self.via.clock.now())\n        else:\n            return True",
                "message_id, failure, self.via.clock.now())\n        return True",
            ),
        ),
    ),
    Mutant(
        "a look without an answer that ends the render",
        (
            (
                POLL,
                "            self.missed(render, failure)\n            return render, None",
                "            self.missed(render, failure)\n            return render, str(failure)",
            ),
        ),
        ("trouble with looks", "pair"),
    ),
)


def catch(mutant: Mutant) -> str | None:
    """What gave the mistake away, None if nothing did.

    Raises:
        AssertionError: the code has changed, and the mutation must follow it.
        RuntimeError: the stories could not be played.
    """
    with tempfile.TemporaryDirectory(prefix="kontext-mutant-") as folder:
        for source in SOURCES:
            shutil.copytree(ROOT / source, Path(folder) / source, ignore=shutil.ignore_patterns("__pycache__"))
        for file, old, new in mutant.changes:
            path = Path(folder) / file
            text = path.read_text()
            assert old in text, f"{mutant.name}: {file} has changed; the mutation must follow it"
            path.write_text(text.replace(old, new))
        search = [*(str(Path(folder) / source) for source in SOURCES), str(ROOT)]
        run = subprocess.run(
            [sys.executable, "-m", "tests.chaos.mutants", mutant.first, *mutant.stories],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(search), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    if run.returncode:
        raise RuntimeError(f"{mutant.name}: {run.stderr[-2000:]}")
    caught = [line for line in run.stdout.splitlines() if line.startswith("caught: ")]
    return caught[-1].removeprefix("caught: ") if caught else None


def hunt(first: str, stories: list[str]) -> Iterator[str]:
    """Play the stories, each without a fault, then with every single one (after one of the kind `first`, if it is
    named), and yield what breaks."""
    from simulation.explore import next_faults, play
    from simulation.stories import STORIES

    def runs() -> Iterator[str]:
        for story in stories:
            untouched = play(STORIES[story])
            yield from untouched.violations or [""]
            before = [(fault,) for fault in next_faults(untouched) if fault.kind == first] if first else [()]
            for faults in before:
                for fault in next_faults(play(STORIES[story], *faults)):
                    yield from play(STORIES[story], *faults, fault).violations or [""]

    yield from (broken for broken in islice(runs(), RUNS) if broken)


if __name__ == "__main__":
    for found in hunt(sys.argv[1], sys.argv[2:]):
        print("caught:", found.replace("\n", " ")[:200])
        break
