"""A deployed local stack for the end-to-end tests: one for the whole run, shared by all workers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx
import pytest

from kontext.dynamodb import Table
from kontext.polling.durations import SLOTS, Durations
from kontext.polling.history import PollHistory
from kontext_cli.demo.subscriber import Subscriber
from kontext_cli.target import LOCAL, Target
from kontext_local import stack
from kontext_local.project import ROOT
from tests.e2e.scene import Scene
from tests.e2e.ward import Ward

Seen = TypeVar("Seen")

# Short renders and small pictures; neither our pacing nor the vendor's limit slows the tests down.
INFERENCE_SECONDS = 1.0
EMULATOR = {"inference": INFERENCE_SECONDS, "pixels": 65_536, "workers": 4, "rate_limit": None}
PARAMETERS = {"PromptWaitSeconds": "2", "RequestsPerMinute": "1200"}


def options(**changes: Any) -> stack.Options:
    """The options of the shared stack, some of them changed; `emulator` and `parameters` are added to."""
    emulator = EMULATOR | changes.pop("emulator", {})
    parameters = PARAMETERS | changes.pop("parameters", {})
    return stack.Options(**{"keep": False, "emulator": emulator, "parameters": parameters, **changes})


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the shared stack: `local.json` and the logs of MiniStack, the emulator and sam."""
    base = tmp_path_factory.getbasetemp()
    # Under xdist each worker has a folder of its own in the run's folder.
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kontext"


@pytest.fixture(scope="session")
def local(home: Path) -> Iterator[stack.LocalStack]:
    """The shared stack: `.outputs`, `.client(service)`, `.segmind_url`. It ends with its last worker."""
    with stack.using(home, options()) as running:
        teach(running)
        yield running


def teach(running: stack.LocalStack, inference: float = INFERENCE_SECONDS) -> None:
    """Let the stack know how fast its emulator is: a new stack expects the vendor's 23 s, and looks no earlier."""
    durations = Durations()
    for number in range(3 * SLOTS):
        durations = durations.observe(str(number), number, 0.0, inference)
    table = Table(running.client("dynamodb"), running.outputs["RendersTable"])
    cells = ", ".join(f"#{name} = :{name}" for name in durations.cells)
    table.update(PollHistory.KEY, f"SET {cells}", **durations.cells)


@pytest.fixture
def target(local: stack.LocalStack) -> Target:
    """The shared stack as the command line sees it."""
    return Target(LOCAL, local.outputs, local.client)


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Callable[..., stack.LocalStack]]:
    """Starts a stack for one test alone, for tests that change roles or parameters; takes what `options` takes."""
    with ExitStack() as running:

        def start(**changes: Any) -> stack.LocalStack:
            chosen = options(**changes)
            own = running.enter_context(stack.using(tmp_path / "own", chosen))
            teach(own, chosen.emulator["inference"])
            return own

        yield start


@pytest.fixture(scope="session")
def scene_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.LocalStack]:
    """A stack of this worker alone, in which tests may break whatever they like, and mend it again."""
    parameters = {"AlarmEmail": "operators@example.com", "LowCredits": "5"}
    with stack.using(tmp_path_factory.mktemp("scene"), options(parameters=parameters, wait_scale=0.2)) as running:
        teach(running)
        yield running


@pytest.fixture
def scene(scene_stack: stack.LocalStack, samples: Path) -> Iterator[Scene]:
    """That stack, with everything in it mended after the test."""
    with scene_stack.emulator() as emulator:
        played = Scene(scene_stack, emulator, samples)
        yield played
        played.mend()


@pytest.fixture(scope="session")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    options = stack.Options(keep=False, emulator={"pixels": 65_536})
    with stack.using(tmp_path_factory.mktemp("ward"), options) as running:
        yield Ward(running)


@pytest.fixture
def emulator(local: stack.LocalStack) -> Iterator[httpx.Client]:
    """A client of the emulator's own endpoints: `POST script`, `GET ledger`, `POST settings`, … (not `reset`)."""
    with local.emulator() as client:
        yield client


@pytest.fixture
def subscriber(target: Target) -> Iterator[Subscriber]:
    """A queue that subscribes to the topic; everything published during the test comes to it."""
    with Subscriber(target) as subscribed:
        yield subscribed


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of the sample photographs."""
    return ROOT / "samples"


class Eventually(Protocol):
    """Gives the first true answer."""

    def __call__(self, look: Callable[[], Seen | None], what: str, seconds: float = 240.0) -> Seen: ...


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """Looks again until what is looked for is there; see `_eventually`."""
    return _eventually


def _eventually(look: Callable[[], Seen | None], what: str, seconds: float = 240.0) -> Seen:
    """The first true value of `look()`; the test fails when there is none within `seconds`."""
    began = time.monotonic()
    while not (seen := look()):
        waited = time.monotonic() - began
        if waited > seconds:
            pytest.fail(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(min(0.1 + waited / 20, 1.0))  # a look takes time from what it waits for
    return seen
