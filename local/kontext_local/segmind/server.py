"""The emulator as a server: in the foreground, or as a child process that ends with its parent."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import IO, Any, cast

import httpx
import uvicorn

from kontext_local import private
from kontext_local.errors import LocalCloudError
from kontext_local.guard import App as AsgiApp
from kontext_local.guard import Guard, Guarded
from kontext_local.segmind.app import App, DroppingProtocol
from kontext_local.segmind.inputs import PictureFactory
from kontext_local.segmind.picture import PIXELS
from kontext_local.segmind.service import Segmind
from kontext_local.segmind.settings import Settings

READY_SECONDS = 20.0
STOP_SECONDS = 3.0
HOST = "127.0.0.1"
# Two cores make pictures faster than any rate limit asks for them; the other threads wait for downloads.
STUDIO_THREADS = 4


def serve(
    port: int = 0,
    settings: Settings | None = None,
    *,
    seed: int | None = None,
    pixels: int = PIXELS,
    announce: Callable[[str, str], object] = print,
    stop_with_parent: bool = False,
) -> None:
    """Serve on the loopback until SIGINT or SIGTERM. Port 0 means a free one.

    `announce` is given the base URL and an accepted API key once connections are taken; `seed` makes ids,
    keys and times repeatable; `pixels` is the area of the pictures. With `stop_with_parent`, the end of
    standard input ends the server. Raises LocalCloudError if the port is taken.
    """
    with _listening(port) as listener, _studio(pixels) as (pictures, pool):
        taken = listener.getsockname()[1]
        url = f"http://{HOST}:{taken}"
        service = Segmind(
            settings,
            draw=pictures,
            start=pool.submit,
            rng=Random(seed),  # noqa: S311  repeatable, not secret
            api_url=url,
            output_url=url,
        )
        server = uvicorn.Server(_config(Guarded(App(service, service.api_key), Guard(taken))))
        if stop_with_parent:
            threading.Thread(target=_watch_parent, args=[server], daemon=True).start()
        announce(url, service.api_key)
        server.run(sockets=[listener])


def _config(app: AsgiApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=DroppingProtocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    try:
        listener = socket.create_server((HOST, port), backlog=512)
    except (OSError, OverflowError) as error:
        taken = getattr(error, "errno", None) == errno.EADDRINUSE
        why = f"port {port} is taken: choose another one" if taken else str(error)
        raise LocalCloudError(f"The Segmind emulator cannot listen on {HOST}:{port}: {why}.") from error
    with listener:
        # asyncio does this only for sockets with an explicit protocol number: without it, answers take 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


@contextlib.contextmanager
def _studio(pixels: int) -> Iterator[tuple[PictureFactory, ThreadPoolExecutor]]:
    with tempfile.TemporaryDirectory(prefix="kontext-segmind-", ignore_cleanup_errors=True) as folder:
        pictures, pool = PictureFactory(Path(folder), pixels), ThreadPoolExecutor(STUDIO_THREADS)
        try:
            yield pictures, pool
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            pictures.close()


def _watch_parent(server: uvicorn.Server) -> None:
    """Standard input is a pipe that only the parent holds: it ends when the parent does, kill -9 included."""
    while os.read(0, 1024):
        pass
    server.should_exit = True
    time.sleep(STOP_SECONDS)
    # A download that hangs must not keep the process.
    os._exit(0)


@dataclass
class Emulator:
    """A running emulator; `stop` it, or leave its `with` block."""

    url: str
    api_key: str = field(repr=False)
    process: subprocess.Popen[bytes] = field(repr=False)

    def stop(self) -> None:
        """End the process. Harmless the second time."""
        if self.process.stdin:
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def is_running(self) -> bool:
        """Whether its process is still there."""
        return self.process.poll() is None

    def script(self, **rule: Any) -> None:
        """Add a rule; see `kontext_local.segmind.script.Rule`."""
        self._admin("POST", "script", rule)

    def change(self, **settings: Any) -> None:
        """Replace settings while it runs; see `kontext_local.segmind.settings.Settings`."""
        self._admin("POST", "settings", settings)

    def ledger(self) -> dict[str, Any]:
        """`posts`, `jobs`, `charges`, `gets`, `too_many_requests`, `spent` and `credits`."""
        ledger: dict[str, Any] = self._admin("GET", "ledger")
        return ledger

    def reset(self) -> None:
        """Forget every job and script, and go back to the settings of the start."""
        self._admin("POST", "reset")

    def _admin(self, method: str, name: str, body: Any = None) -> Any:
        answer = httpx.request(
            method, f"{self.url}/_emulator/{name}", json=body, headers={"x-api-key": self.api_key}, trust_env=False
        )
        if answer.is_error:
            raise ValueError(answer.json()["error"])
        return answer.json()

    def __enter__(self) -> Emulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(
    port: int = 0,
    *,
    seed: int | None = None,
    pixels: int = PIXELS,
    log: Path | None = None,
    **settings: Any,
) -> Emulator:
    """Run the emulator as a child process, which ends with this one whatever becomes of it.

    `settings` are fields of Settings, `inference` as a number of seconds or any other form. What it has to
    say goes to the end of `log`. Raises LocalCloudError if it does not come up within 20 seconds, saying
    why.
    """
    command = [sys.executable, "-m", "kontext_local.segmind", "--child", f"--port={port}", f"--pixels={pixels}"]
    command += [f"--seed={seed}"] if seed is not None else []
    with private.opened(log, "ab+") if log else tempfile.TemporaryFile() as errors:
        # In a session of its own, so that Ctrl-C reaches the parent alone, which then stops things in order.
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            umask=private.UMASK,
        )
        private.hand_over(process, settings)
        ready = _first_line(process)
        if "url" in ready:
            return Emulator(ready["url"], ready["api_key"], process)
        Emulator("", "", process).stop()
        raise LocalCloudError(ready.get("error") or f"The Segmind emulator did not start. {_last_line(errors)}")


def _first_line(process: subprocess.Popen[bytes]) -> dict[str, str]:
    """What the child says of itself, as soon as it does; empty if it says nothing in time."""
    lines: queue.Queue[bytes] = queue.Queue()
    stdout = cast(IO[bytes], process.stdout)
    threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
    try:
        said: dict[str, str] = json.loads(lines.get(timeout=READY_SECONDS) or b"{}")
    except queue.Empty:
        return {}
    return said


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").splitlines()
    return lines[-1] if lines else ""
