"""Who may ask, and what every answer says to the browser.

The server listens on the loopback only. That does not keep other web pages out: a page may send requests to any
address, and a host name that is made to point to 127.0.0.1 (DNS rebinding) would make it the same origin. So the
`Host` must be ours, whatever changes anything must come from our own page, and nothing is answered to a page of
another site.
"""

from __future__ import annotations

from collections.abc import Mapping

NAMES = ("127.0.0.1", "localhost")

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """Knows the addresses of a console that listens on `port`."""

    def __init__(self, port: int) -> None:
        names = [name for host in NAMES for name in ((f"{host}:80", host) if port == 80 else (f"{host}:{port}",))]
        self._hosts = frozenset(names)
        self._origins = frozenset(f"http://{name}" for name in names)

    def objection(self, method: str, headers: Mapping[str, str]) -> str | None:
        """Why a request is refused, None if it is welcome. `headers`: with names in lower case."""
        if headers.get("host", "") not in self._hosts:
            return "This console answers under its own address only."
        origin = headers.get("origin")
        if origin is None and method not in ("GET", "HEAD"):
            return "Only the console's own page may do this."
        if origin is not None and origin not in self._origins:
            return "Only the console's own page may do this."
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return "Another site's page may not read this."
        return None
