"""The command: find the stack, listen on the loopback, and serve until interrupted."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import socket
import sys
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass

import uvicorn

from kontext_cli import target
from kontext_cli.errors import CommandError
from kontext_cli.target import Target
from kontext_cli.terminal import progress
from kontext_cli.web.app import App
from kontext_cli.web.gallery import Gallery

HOST = "127.0.0.1"
GRACE_SECONDS = 1


@dataclass(frozen=True)
class Served:
    """A console that listens at `url`; `run` answers until Ctrl-C or `stop`."""

    name: str
    url: str
    server: uvicorn.Server
    listener: socket.socket

    def run(self) -> None:
        """Answer requests."""
        # The server ends in good order and then repeats the signal: for us Ctrl-C is the ordinary end.
        with contextlib.suppress(KeyboardInterrupt):
            self.server.run(sockets=[self.listener])

    def stop(self) -> None:
        """Let `run` return; from another thread."""
        self.server.should_exit = True


def run(stack: str | None, port: int, *, open_browser: bool | None) -> int:
    """Serve the console of a stack; port 0 takes a free one. Returns the exit code when interrupted.

    `open_browser` None: where there is a person with a desktop to see it. Raises CommandError if the port is taken.
    """
    with serving(target.find(stack), port) as console, progress() as shown:
        shown.line(f"The console of {console.name} is at [bold]{console.url}[/]; Ctrl-C stops it.")
        if _wants_browser(open_browser):
            webbrowser.open(console.url)
        console.run()
        shown.line("The console is stopped; the stack goes on.")
    return 0


@contextlib.contextmanager
def serving(chosen: Target, port: int = 0) -> Iterator[Served]:
    """The console of a stack, ready to run. Raises CommandError if the port is taken."""
    # A client takes a while to make, and threads may share it.
    shared = Target(chosen.name, chosen.outputs, functools.cache(chosen.client))
    gallery = Gallery(shared)
    with _listening(port) as listener:
        taken = listener.getsockname()[1]
        server = uvicorn.Server(_config(App(shared, gallery, taken)))
        yield Served(chosen.name, f"http://{HOST}:{taken}/", server, listener)


def _config(app: App) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def _wants_browser(asked: bool | None) -> bool:
    if asked is not None:
        return asked
    has_desktop = sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    return has_desktop and sys.stdout.isatty() and not os.environ.get("CI")


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    try:
        listener = socket.create_server((HOST, port), backlog=128)
    except OSError as error:
        taken = f"port {port} is taken: choose another one, or none"
        raise CommandError(
            f"The console cannot listen: {taken if error.errno == errno.EADDRINUSE else error}."
        ) from error
    with listener:
        # asyncio does this only for sockets with an explicit protocol number: without it, answers take 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener
