"""Finalize: bring a render to its end, and tell it. The picture is paid: copying and telling can be repeated at
will."""

from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from connections import Connections, connect, prepare
from kontext import events, measures, pairs, words
from kontext.drops import Pair
from kontext.errors import DeliveryError, KontextError, problem
from kontext.renders import IN_FLIGHT, Render
from kontext.table import ConditionFailed

logger = Logger(json_serializer=words.dumps)
prepare("renders", "drops", "outputs", "delivery", "topic")

ENDED = ("DELIVERED", "FAILED", "UNCERTAIN")
MAX_TRIES = 9
"""With doubling waits of 2 to 256 seconds: eight and a half minutes, then
`kontext redeliver` is for a person to call."""


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any, via: Connections | None = None) -> dict[str, Any]:
    """The entry point: the workflow's state in; out `outcome` (delivered, failed, again) and, if failed,
    `error`."""
    logger.append_keys(render_id=event["render_id"], pair=event["prefix"], request_id=event["request_id"])
    try:
        outcome = Finalize(via or connect(), event).run()
    except Exception:
        logger.exception("crashed; the workflow tries again")
        raise
    logger.info("finalized", outcome=outcome["outcome"], code=outcome.get("error", {}).get("code"))
    return outcome


class Finalize:
    """The end of one render."""

    def __init__(self, via: Connections, event: dict[str, Any]) -> None:
        self.via = via
        self.look = event["look"]
        self.tries = event.get("delivery", {}).get("tries", 0)
        self.render: Render = via.renders.get(event["prefix"], event["render_id"]) or {}
        self.stale = self.render.get("attempt") != event["attempt"]

    def run(self) -> dict[str, Any]:
        """Copy, record, tell; whatever of it is done already is not done again."""
        if self.stale:
            return {"outcome": "delivered"}  # a later attempt has taken over, and ends in a workflow of its own
        try:
            if self.render["status"] in IN_FLIGHT:
                self.fail(*self.why_failed())
            if self.render["status"] == "COMPLETED":
                self.deliver()
            return self.told()
        except DeliveryError as failure:
            return self.undelivered(str(failure), failure.tries)
        except (KontextError, ClientError, BotoCoreError) as failure:
            return self.undelivered(f"{type(failure).__name__}: {failure}", MAX_TRIES)

    def why_failed(self) -> tuple[str, str]:
        """The error code and message of a job that did not complete."""
        if self.look.get("outcome") == "failed":
            return "render_failed", self.look["message"]
        if self.look.get("gone"):
            return "expired", "Segmind does not know the job any more"
        return "expired", "Segmind's record of the job ended without a result"

    def deliver(self) -> None:
        """Put the picture where it belongs: under the pair's result key, or beside it if a newer drop has
        overtaken."""
        render = self.render
        output_format = render["parameters"]["output_format"]
        key = pairs.result_key(render["prefix"], output_format)
        condition = self.via.outputs.standing(key)
        pair = self.via.drops.get(render["prefix"])
        overtaken = pair is not None and pair.current != render["render_id"]
        if overtaken:  # what an earlier try of this render put there must not stay
            self.via.outputs.withdraw(key, render["render_id"])
            key = pairs.superseded_key(render["prefix"], render["render_id"], output_format)
            condition = self.via.outputs.standing(key)
        result = self.via.delivery.copy(render["output_url"], key, output_format, _metadata(render), condition)
        if pair is not None and not overtaken:
            self.clean_up(pair, key)
        self.render = self.via.renders.delivered(render, {**result, "superseded": overtaken}, self.via.clock.now())

    def clean_up(self, pair: Pair, key: str) -> None:
        """Remove what an older drop left: a result in another format, an error.json that is not true any more."""
        error_key = pairs.error_key(pair.prefix)
        for stale in pair.written - {key, error_key}:
            self.via.outputs.remove(stale)
        if error_key in pair.written:
            standing = self.via.outputs.standing(error_key)
            now = self.via.drops.get(pair.prefix)  # read after the file: one that comes later is not touched
            if now is not None and now.rejected_drop <= now.current_drop:
                self.via.outputs.remove(error_key, standing)

    def undelivered(self, message: str, tries: int) -> dict[str, Any]:
        """Try again later, `tries` times in all, or say that a person has to."""
        logger.warning("not delivered", reason=message, tries=self.tries)
        if self.tries < tries - 1:
            return {"outcome": "again", "wait": 2 ** (self.tries + 1), "tries": self.tries + 1}
        if self.render["status"] == "COMPLETED":
            self.fail("delivery", message)
        if self.render["status"] not in ENDED:
            raise KontextError(message)  # the table itself does not answer: the workflow's own retries are left
        return self.told()

    def fail(self, code: str, message: str) -> None:
        """The render ends without a picture in the bucket."""
        error = problem(code, message)
        key = pairs.error_key(self.render["prefix"])
        try:
            self.render = self.via.renders.failed(self.render, error, key, self.via.clock.now())
        except ConditionFailed as moved:
            self.render = moved.found or self.render

    def told(self) -> dict[str, Any]:
        """Tell how it ended, once it has."""
        render = self.render
        if not render.get("announced"):
            events.announce(render, self.via.drops, self.via.outputs, self.via.topic, self.via.renders)
            measures.tell_end(render)
        if render["status"] == "DELIVERED":
            return {"outcome": "delivered"}
        return {"outcome": "failed", "error": render["error"]}


def _metadata(render: Render) -> dict[str, str]:
    told = {"render-id": render["render_id"], "request-id": render["request_id"]}
    parameters = {name: render["parameters"].get(name) for name in ("aspect_ratio", "safety_tolerance", "seed")}
    return told | {name.replace("_", "-"): str(value) for name, value in parameters.items() if value is not None}
