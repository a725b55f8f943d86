"""A vendor whose answers are data: Segmind as nobody would want it, in process or behind a socket.

A case says for `submit`, `status`, `result`, `credits` and `file` (the picture's host) the answers that come one after
the other, the last one for ever; what it leaves out is answered as the contract has it: the result of a job whose
status ends as a failure is that failure. An answer is a mapping of

    http: STATUS (200), headers
    json, text, or content (see `material`); patch / without: the contract's own answer, changed
    drop: true (the connection closes without a word), cut_after: N bytes, hang: seconds of silence,
    drip: [N, SECONDS] (so many bytes at a time), slow: [N, SECONDS] (the lines before the body, too),
    endless: true (the body again and again, until the other side has enough),
    accepts: whether a submit makes a job (usually if its status says so)

In texts, `$ID` stands for the job, `$API` and `$FILES` for the two hosts, `$ELSEWHERE` for one that nobody may ever
ask, `$URL` for the picture, `$KEY` for the key, `$PROMPT` for the prompt and `$LINK` for the first link to an input
that were sent.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.adversarial.material import made

PICTURE = {"png": {"image": "PNG", "size": [16, 12]}, "jpg": {"image": "JPEG", "size": [16, 12]}}
METRICS = {
    "inference_time": 1.0,
    "queue_time": 0.1,
    "total_time": 1.1,
    "retry_count": 0,
    "cost": 0.05,
    "remaining_credits": 10.0,
}
URLS = {
    "poll_url": "$API/v1/requests/$ID",
    "status_url": "$API/v2/requests/$ID/status",
    "response_url": "$API/v2/requests/$ID",
}
CONTRACT: dict[str, list[Any]] = {
    "submit": [{"request_id": "$ID", "status": "QUEUED", **URLS}],
    "status": [
        {"request_id": "$ID", "status": "PROCESSING", **URLS, "metrics": {}},
        {"request_id": "$ID", "status": "COMPLETED", "metrics": {"inference_time": 1.0}},
    ],
    "result": [
        {
            "request_id": "$ID",
            "status": "COMPLETED",
            "output": "$URL",
            "images": [{"url": "$URL", "content_type": "image/png"}],
            "metrics": METRICS,
        }
    ],
    "credits": [{"credits": 10.0}],
}


@dataclass(frozen=True)
class Reply:
    """What comes back over the connection."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    drop: bool = False
    hang: float = 0.0
    cut_after: int | None = None
    drip: tuple[int, float] | None = None
    slow: tuple[int, float] | None = None
    endless: bool = False


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    method: str
    host: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        """`submit`, `status`, `result`, `credits` or `file`."""
        if self.method == "POST":
            return "submit"
        if self.path.startswith("/v1/get-user-credits"):
            return "credits"
        if self.path.startswith("/v2/requests/"):
            return "status" if self.path.endswith("/status") else "result"
        return "file"


class Vendor:
    """One case's vendor. `hosts`: the base URLs of its API, of its pictures, and of what is not its own."""

    def __init__(self, answers: Mapping[str, Any], key: str, hosts: tuple[str, str, str], job: str = "job-1") -> None:
        self.answers = answers
        self.key, self.job = key, job
        self.api, self.files, self.elsewhere = hosts
        self.requests: list[Seen] = []
        self.accepted = 0
        self._asked: dict[str, Any] = {}

    def answer(self, seen: Seen) -> Reply:
        """Answer a request and remember it."""
        kind = seen.kind
        before = Counter(earlier.kind for earlier in self.requests)[kind]
        self.requests.append(seen)
        if kind != "file" and seen.headers.get("x-api-key") != self.key:
            return Reply(401, body=b'{"error": "Unauthorized"}')
        if kind == "submit":
            self._asked = json.loads(seen.body)
        said = self._said(kind, before)
        self.accepted += kind == "submit" and bool(said.get("accepts", said.get("http", 200) < 300))
        return self._reply(kind, said, before)

    @property
    def posts(self) -> int:
        """How many jobs were asked for."""
        return sum(seen.kind == "submit" for seen in self.requests)

    def _said(self, kind: str, before: int) -> dict[str, Any]:
        answers = self.answers.get(kind) or (self._failure() if kind == "result" else [{}])
        return dict(answers[min(before, len(answers) - 1)])

    def _failure(self) -> list[dict[str, Any]]:
        """By the contract the result of a job that has failed is what its status says."""
        last = self.answers.get("status", [{}])[-1]
        return [last if last.get("http") == 422 or last.get("json", {}).get("status") == "FAILED" else {}]

    def _reply(self, kind: str, said: dict[str, Any], before: int) -> Reply:
        body = self._body(kind, said, before)
        length = {} if said.get("endless") else {"content-length": str(len(body))}
        headers = {**length, **{name: self._line(value) for name, value in said.get("headers", {}).items()}}
        return Reply(
            said.get("http", 200),
            {name.lower(): value for name, value in headers.items() if value is not None},
            body,
            drop=said.get("drop", False),
            hang=said.get("hang", 0.0),
            cut_after=said.get("cut_after"),
            drip=tuple(said["drip"]) if "drip" in said else None,
            slow=tuple(said["slow"]) if "slow" in said else None,
            endless=said.get("endless", False),
        )

    def _body(self, kind: str, said: dict[str, Any], before: int) -> bytes:
        if "content" in said:
            return made(said["content"])
        if "text" in said:
            return str(self._told(said["text"])).encode("utf-8", "surrogatepass")
        if "json" in said:
            return str(self._told(json.dumps(said["json"]))).encode()
        if kind == "file":
            return made(PICTURE[self._asked.get("output_format", "png")])
        if kind == "submit" and said.get("http", 200) >= 400:
            return b'{"error": "no"}'
        usual = CONTRACT[kind][min(before, len(CONTRACT[kind]) - 1)]
        changed = {
            name: value
            for name, value in {**usual, **said.get("patch", {})}.items()
            if name not in said.get("without", ())
        }
        return str(self._told(json.dumps(changed))).encode()

    def _line(self, value: Any) -> str | None:
        return made(value).decode() if isinstance(value, dict) else self._told(value)

    def _told(self, text: str | None) -> str | None:
        url = f"{self.files}/out/{self.job}.{self._asked.get('output_format', 'png')}"
        words = {"$URL": url, "$API": self.api, "$FILES": self.files, "$ID": self.job, "$KEY": self.key}
        words |= {"$ELSEWHERE": self.elsewhere, "$PROMPT": str(self._asked.get("prompt", ""))}
        words["$LINK"] = str(self._asked.get("input_image_1", ""))
        for word, meaning in words.items():
            text = text.replace(word, meaning) if text else text
        return text
