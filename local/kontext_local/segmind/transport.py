"""The emulator behind an httpx client, in process: no socket, and no time but what the caller lets pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from email.utils import formatdate

import httpx

from kontext_local.segmind.answers import Answer
from kontext_local.segmind.service import Segmind


def segmind_transport(service: Segmind, sleep: Callable[[float], None] = time.sleep) -> httpx.BaseTransport:
    """A transport for `httpx.Client` that answers every request, whatever its host, from `service`.

    `sleep` lets seconds pass on the clock of the service. Dropped connections raise
    `httpx.RemoteProtocolError`, and answers slower than the client's read timeout `httpx.ReadTimeout`, as
    over a socket. Each answer has a `Date`, as any server with a clock sends (RFC 9110, 6.6.1).
    """
    return _SegmindTransport(service, sleep)


class _Body(httpx.SyncByteStream):
    def __init__(self, chunks: Iterable[bytes], cut: bool) -> None:
        self._chunks, self._cut = chunks, cut

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        if self._cut:
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


class _SegmindTransport(httpx.BaseTransport):
    def __init__(self, service: Segmind, sleep: Callable[[float], None]) -> None:
        self._service, self._sleep = service, sleep

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._service.handle(request.method, request.url.path, request.headers, request.read())
        answer = self._awaited(answer, request)
        if answer.drop:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.", request=request)
        body = _Body(answer.chunks(), cut=answer.cut_after is not None)
        headers = {"date": formatdate(self._service.clock(), usegmt=True), **answer.headers}
        return httpx.Response(answer.status, headers=headers, stream=body, request=request)

    def _awaited(self, answer: Answer, request: httpx.Request) -> Answer:
        patience = request.extensions.get("timeout", {}).get("read") or float("inf")
        began = self._service.clock()
        self._pass(answer.hang, patience, request)
        while answer.later:
            waited = self._service.clock() - began
            self._pass(answer.later.at - self._service.clock(), patience - waited, request)
            answer = answer.later.then()
        return answer

    def _pass(self, seconds: float, patience: float, request: httpx.Request) -> None:
        self._sleep(max(0.0, min(seconds, patience)))
        if seconds >= patience:
            raise httpx.ReadTimeout("The read operation timed out", request=request)
