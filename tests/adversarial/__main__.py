"""`make test-adversarial`: the corpus in process and partly on the embedded cloud, roles and secrets."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from simulation.world import KEY
from tests.adversarial import cloud, secrets
from tests.adversarial.deployed_stack import DeployedStack, deploying
from tests.adversarial.oracle import played
from tests.adversarial.play import CORPUS, PROMPT, cases

EVERY = 8
BEGAN = time.monotonic()


def main() -> int:
    """Play and prove everything; ends with the figures, and with 1 if anything is wrong."""
    files = sorted(path.stem for path in CORPUS.glob("*.yaml"))
    outcomes: list[str] = []
    with (
        ProcessPoolExecutor(1, get_context("spawn")) as beside,
        tempfile.TemporaryDirectory(prefix="kontext-adversarial-") as home,
    ):
        inside = beside.map(played, files)
        say("deploying the stack, and playing the corpus in process meanwhile")
        with deploying(Path(home)) as deployed:
            outcomes += on_the_cloud(deployed)
            granted, used, problems = roles(deployed)
            found = report(secrets.found(cloud.remains(deployed), KEY, PROMPT))
            say(f"looked for secrets in {', '.join(cloud.remains(deployed))}: {len(found)} found")
        for file, wrongs in zip(files, inside, strict=True):
            outcomes += report(f"{name}: {words}" for name, words in wrongs.items())
            say(f"in process: {file}, {len(cases(file))} cases, {len(wrongs)} wrong")
    bad = sum(not case.good for case in cases())
    counts = f"bad inputs: {bad}, wrong outcomes: {len(outcomes)}"
    print(f"{counts}, IAM actions granted/used: {granted}/{used}, secrets found: {len(found)}")
    return 1 if outcomes or problems or found else 0


def say(words: str) -> None:
    """A line of progress."""
    print(f"{time.monotonic() - BEGAN:6.1f} s  {words}", flush=True)


def report(wrongs: Iterable[str]) -> list[str]:
    """Print what is wrong as it is found."""
    found = []
    for words in wrongs:
        say(f"WRONG {words}")
        found.append(words)
    return found


def on_the_cloud(deployed: DeployedStack) -> list[str]:
    """Drop the sample into the stack; returns what is wrong."""
    say("the stack is up; a role is without a statement for a moment")
    outcomes = report(cloud.refuse(deployed))
    before = cloud.refused(deployed)
    sampled = cloud.sample(EVERY)
    say(f"dropping {len(sampled)} cases into it, all at once")
    outcomes += report(cloud.play_all(deployed, sampled))
    say("letting a sweep find what is due")
    outcomes += report(cloud.bring_on(deployed))
    outcomes += report(cloud.give_up(deployed))
    outcomes += report(f"{access} was refused" for access in cloud.refused(deployed) - before)
    say(f"on the embedded cloud: {len(sampled)} cases, {len(outcomes)} wrong")
    return outcomes


def roles(deployed: DeployedStack) -> tuple[int, int, list[str]]:
    """The roles' proof: how many actions are granted, how many of them used, and what is wrong."""
    granted, unused, ungranted = cloud.proof(deployed)
    problems = report(
        [*(f"{grant} is never used" for grant in unused), *(f"{access} is not granted" for access in ungranted)]
    )
    actions, used = ({(grant.role, grant.action) for grant in some} for some in (granted, granted - unused))
    by_role = {role: sum(one == role for one, _ in actions) for role in cloud.ROLES}
    say(f"actions granted: {', '.join(f'{role} {count}' for role, count in by_role.items())}")
    return len(actions), len(used), problems


if __name__ == "__main__":
    sys.exit(main())
