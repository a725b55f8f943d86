"""The hostile vendor behind real sockets: an API, a host of pictures, and a host that nobody may ever ask.

One fake serves many cases at once. Each has a folder of its own in the bucket, `case-N/`, and the links to its
images say which one is meant; its job is called `case-N` too.
"""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from tests.adversarial.vendor import Reply, Seen, Vendor

JOB = re.compile(r"case-\d+")
LONGEST_SECONDS = 45.0
"""Longer than any answer is waited for."""


class FakeVendor:
    """The three hosts, and each case's vendor by the name of its job."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.vendors: dict[str, Vendor] = {}
        self.fetched: dict[str, list[int]] = {}
        """The statuses with which the links to a case's images were answered."""
        self.strays: list[str] = []
        """Requests that should never have been made."""
        self.hosts = ("", "", "")

    @property
    def result_host(self) -> str:
        """The pictures' host, as the stack allows it."""
        return self.hosts[1].removeprefix("http://")

    def add(self, job: str, answers: Mapping[str, Any]) -> Vendor:
        """Answer for one more case."""
        self.vendors[job] = Vendor(answers, self.key, self.hosts, job)
        return self.vendors[job]

    def answer(self, host: str, seen: Seen) -> Reply:
        """Answer a request that came to one of the hosts."""
        if seen.kind == "credits" and host == self.hosts[0]:
            return Vendor({}, self.key, self.hosts).answer(seen)  # of the account, and so of no case
        job = JOB.search(seen.body.decode(errors="replace") if seen.method == "POST" else seen.path)
        vendor = self.vendors.get(job[0]) if job else None
        if vendor is None or host == vendor.elsewhere:
            self.strays.append(f"{seen.method} {host}{seen.path}")
            return Reply(404, body=b"{}")
        if seen.kind == "submit":
            self._fetch(vendor.job, json.loads(seen.body))
        return _staying(vendor.answer(seen), vendor.job)

    def _fetch(self, job: str, asked: dict[str, Any]) -> None:
        links = [asked[name] for name in ("input_image_1", "input_image_2") if asked[name].startswith("http://")]
        self.fetched[job] = [_status(link) for link in links]


def _staying(reply: Reply, job: str) -> Reply:
    """The same answer, of which a redirect on the same host still says whose it is."""
    location = reply.headers.get("location", "")
    if not re.match(r"/[^/]", location):
        return reply
    return replace(reply, headers={**reply.headers, "location": f"{location}?{job}"})


def _status(link: str) -> int:
    try:
        with urllib.request.urlopen(link, timeout=10) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@contextmanager
def serving(key: str) -> Iterator[FakeVendor]:
    """A fake on loopback, for the length of a `with` block."""
    fake = FakeVendor(key)
    with ExitStack() as servers:
        api, files, elsewhere = (servers.enter_context(_served(fake)) for _ in range(3))
        fake.hosts = api, files, elsewhere
        yield fake


@contextmanager
def _served(answering: FakeVendor) -> Iterator[str]:
    class Handler(_Handler):
        fake = answering

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    fake: FakeVendor

    def do_GET(self) -> None:
        host = f"http://127.0.0.1:{cast('ThreadingHTTPServer', self.server).server_port}"
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.fake.answer(host, Seen(self.command, host, self.path, headers, body))
        self.close_connection = True
        try:
            self._send(reply)
        except OSError:
            return  # the other side had enough

    do_POST = do_GET  # noqa: N815

    def _send(self, reply: Reply) -> None:
        time.sleep(reply.hang)
        if reply.drop:
            return
        lines = [f"{name}: {value}\r\n" for name, value in {**reply.headers, "connection": "close"}.items()]
        self._write(f"HTTP/1.1 {reply.status} Said\r\n{''.join(lines)}\r\n".encode("latin-1"), reply.slow)
        ends_at = time.monotonic() + LONGEST_SECONDS
        self._write(reply.body[: reply.cut_after], reply.drip)
        while reply.endless and time.monotonic() < ends_at:
            self._write(reply.body, None)

    def _write(self, content: bytes, drip: tuple[int, float] | None) -> None:
        size, pause = drip or (len(content) or 1, 0.0)
        for at in range(0, len(content), size):
            self.wfile.write(content[at : at + size])
            time.sleep(pause)

    def log_message(self, *_: Any) -> None:
        """Silence: the requests are kept elsewhere."""
