"""The command: find the stack, listen on the loopback, and serve until interrupted."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import webbrowser
from collections.abc import Iterator

import uvicorn

from kontext_cli import target
from kontext_cli.console import progress
from kontext_cli.errors import CommandError
from kontext_cli.webconsole.app import App
from kontext_cli.webconsole.gallery import Gallery, kept_current

HOST = "127.0.0.1"
GRACE_SECONDS = 1


def run(stack: str | None, port: int, *, open_browser: bool | None) -> int:
    """Serve the console of a stack; port 0 takes a free one. Returns the exit code when interrupted.

    `open_browser` None: where there is a person with a desktop to see it. Raises CommandError if the port is taken.
    """
    chosen = target.find(stack)
    gallery = Gallery(chosen)
    with _listening(port) as listener, kept_current(gallery), progress() as shown:
        taken = listener.getsockname()[1]
        url = f"http://{HOST}:{taken}/"
        shown.line(f"The console of {chosen.name} is at [bold]{url}[/]; Ctrl-C stops it.")
        if _wants_browser(open_browser):
            webbrowser.open(url)
        _serve(App(chosen, gallery, taken), listener)
        shown.line("The console is stopped; the stack goes on.")
    return 0


def _serve(app: App, listener: socket.socket) -> None:
    config = uvicorn.Config(
        app,
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    # The server ends in good order and then repeats the signal: for us Ctrl-C is the ordinary end.
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


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
