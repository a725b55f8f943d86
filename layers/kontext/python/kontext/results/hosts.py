"""Which hosts a picture may be fetched from: an answer of Segmind may name any URL.

It is fetched from hosts that the stack allows and, unless such a host is named with its port, from addresses of the
public internet only.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import httpx

from kontext.errors import DeliveryError
from kontext.net import addresses

_USUAL_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True)
class Allowed:
    """The hosts that a picture may come from: `name` (https, the usual port) or `name:port` (also plain http)."""

    hosts: tuple[str, ...]

    @classmethod
    def parse(cls, listed: str) -> "Allowed":
        """The hosts of the stack's parameter ResultHosts."""
        return cls(tuple(host.strip() for host in listed.split(",") if host.strip()))

    def check(self, url: str) -> httpx.URL:
        """The URL as it will be asked for. Raises DeliveryError (final), saying what is wrong, unless it leads to an
        allowed host."""
        if re.search(r"\s", url):
            raise DeliveryError("the result's URL holds a blank", final=True)
        try:
            # What two parsers could read differently is not read at all, and only one of them reads.
            read = httpx.URL(url if re.fullmatch(r"[!-\[\]-~]{1,4096}", url) else "")
            host, port = read.raw_host.decode(), read.port or _USUAL_PORTS.get(read.scheme)
        except Exception as problem:
            raise DeliveryError("the result's URL cannot be read", final=True) from problem
        secure = read.scheme == "https" and port == 443 and _bare(host) in self._names()
        named = bool(port) and read.scheme in _USUAL_PORTS and self.names_with_port(host, port or 0)
        if read.userinfo or not (secure or named):
            raise DeliveryError(self._why_refused(read, host, port), final=True)
        return read

    def first(self, urls: Iterable[str]) -> str | None:
        """The first of some URLs that leads to an allowed host."""
        return next((url for url in urls if self._allows(url)), None)

    def names_with_port(self, host: str, port: int) -> bool:
        """Whether a host is allowed explicitly for a port, and so wherever it is."""
        bare = f"[{host}]" if ":" in host else _bare(host)
        return f"{bare}:{port}" in self._names()

    def addresses(self, host: str, port: int) -> list[str]:
        """Where to connect to for an allowed host. Raises OSError, or DeliveryError (final) if that is not public."""
        if self.names_with_port(host, port):
            return addresses.all_addresses(host, port)
        try:
            return addresses.public_addresses(host, port)
        except ValueError as problem:
            raise DeliveryError(f"the result's host is refused: {problem}", final=True) from problem

    def _allows(self, url: str) -> bool:
        try:
            self.check(url)
        except DeliveryError:
            return False
        return True

    def _why_refused(self, read: httpx.URL, host: str, port: int | None) -> str:
        if read.scheme not in _USUAL_PORTS:
            return f"the result's URL is no https URL, its scheme is {read.scheme[:20]!r}"
        if not host:
            return "the result's URL names no host"
        if read.userinfo:
            return "the result's URL holds a user name or password"
        if _bare(host) not in self._names() | {name.rpartition(":")[0] for name in self._names()}:
            return f"the result's host {host[:80]!r} is not one of the allowed hosts"
        if read.scheme == "http" and read.port is None:
            return f"the result's URL is plain http: {host[:80]!r} is allowed for https"
        return f"the result's URL names port {port}, for which {host[:80]!r} is not allowed"

    def _names(self) -> set[str]:
        return {_bare(host.lower()) for host in self.hosts}


def _bare(host: str) -> str:
    return host.lower().removesuffix(".")
