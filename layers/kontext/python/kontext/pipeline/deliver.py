"""The end of a render: the picture is copied, and it is told. It is paid: both can be repeated at will.

What goes wrong is tried again a few times; then a job that failed is told, and a picture is put off: the render stays
due, and other executions try for as long as Segmind keeps it. The workflow does so where this function cannot: it calls
a function again that crashes, and one that never comes to an end once more, to put off or tell.
"""

from botocore.exceptions import BotoCoreError, ClientError

from kontext import metrics, text
from kontext.connections import Connections
from kontext.due import DELIVERY_SECONDS
from kontext.dynamodb import ConditionFailed
from kontext.errors import DeliveryError, KontextError, problem
from kontext.log import logger
from kontext.model import IN_FLIGHT, ErrorCode, Render, Status
from kontext.pipeline.ends import Ends, charged_for
from kontext.pipeline.job_record import JobRecord
from kontext.pipeline.placing import Placing
from kontext.pipeline.requeue import Requeue
from kontext.renders.overdue import is_stale, unseen
from kontext.renders.record import as_found
from kontext.renders.workflow import last_poll
from kontext.results import cloudevents, error_file
from kontext.workflow_state import Ending, WorkflowState

UNFINISHED = (Status.SUBMITTING, *IN_FLIGHT)
"""A job that nobody has seen complete; `SUBMITTING` if only the workflow knows that Segmind took it."""
MAX_TRIES = 9
"""With doubling waits of 2 to 256 seconds: eight and a half minutes. Then the picture is put off."""


class Finalize:
    """The end of one render."""

    def __init__(self, deps: Connections, event: WorkflowState) -> None:
        self.deps = deps
        self.event = event
        self.polled = last_poll(event)
        self.tries = event.get("delivery", {}).get("tries", 0)
        self.render: Render = deps.jobs.of_execution(event, deps.clock.now()) or {}
        self.given_up = event.get("given_up")
        self.all_tried = bool(self.given_up) or self.tries >= MAX_TRIES - 1

    def run(self) -> Ending:
        """Copy, record, tell; whatever of it is done already is not done again."""
        if self.render and (found := self.polled.get("found")):  # Poll could not record it
            self.render = JobRecord(self.deps, self.event).keep_found(self.render, found)
        if self.is_stale():
            return {"outcome": "delivered"}
        self.deps.jobs.beat(self.render, self.deps.clock.now() + DELIVERY_SECONDS)
        if self.given_up:
            return self.give_up(f"the function that delivers does not come to its end: {_name(self.given_up)}")
        try:
            if self.render["status"] in UNFINISHED and (parked := self.end()):
                return parked
            if self.render["status"] == Status.COMPLETED:
                self.deliver()
            return self.publish_outcome()
        except DeliveryError as failure:
            return self.undelivered(str(failure), failure.tries)
        except (KontextError, ClientError, BotoCoreError) as failure:
            return self.undelivered(text.summarize_vendor_message(f"{type(failure).__name__}: {failure}"), MAX_TRIES)
        except Exception as unknown:
            logger.exception("an exception that nobody has thought of")
            return self.undelivered(text.summarize_vendor_message(f"an unexpected {type(unknown).__name__}"), MAX_TRIES)

    def is_stale(self) -> bool:
        """Whether a later execution has taken over, which ends by itself; or there is nothing to end."""
        return not self.render or is_stale(self.render, self.event["attempt"], self.event.get("generation", 0))

    def end(self) -> Ending | None:
        """End a render whose job did not complete; what to hand back if it waits in line again."""
        self.render = JobRecord(self.deps, self.event).keep_request_id(self.render)
        if self.render["status"] not in UNFINISHED:  # the job is another render's
            return None
        code, message = self.why_failed()
        if code == "render_failed" and Requeue(self.deps).take_back(self.render, self.polled):
            return {"outcome": "parked", "error": problem(code, message)}
        self.fail(code, message)
        return None

    def why_failed(self) -> tuple[ErrorCode, str]:
        """The error code and message of a job that did not complete, or of which nobody knows where its picture is."""
        if "answer" not in self.render and (crash := self.event.get("crash")):
            return "expired", f"Segmind's record of the job ended while it could not be looked at: {_name(crash)}"
        if self.polled.get("outcome") == "failed":
            return "render_failed", self.polled["message"]
        return unseen(self.render, self.polled.get("message"))

    def deliver(self) -> None:
        """Put the picture into its place, and record that."""
        result = Placing(self.deps, self.render).run()
        self.render = self.deps.deliveries.mark_delivered(self.render, result, self.deps.clock.now())

    def undelivered(self, message: str, tries: int) -> Ending:
        """Try again soon, `tries` times in all, and once where that was done before; then it is put off."""
        logger.warning("not delivered", reason=message, tries=self.tries)
        if self.tries < tries - 1 and "undelivered" not in self.render:
            return {"outcome": "again", "wait": 2 ** (self.tries + 1), "tries": self.tries + 1}
        return self.give_up(message)

    def give_up(self, message: str) -> Ending:
        """Leave a picture to a later execution, or end a render without one. What this raises, the workflow tries
        again."""
        if self.render["status"] in UNFINISHED and (parked := self.end()):
            return parked
        if self.render["status"] == Status.COMPLETED:
            return self.put_off(message)
        return self.publish_outcome()

    def put_off(self, message: str) -> Ending:
        """It is paid, and Segmind keeps it for days: the render stays due, and Sweep finds it. One that was delivered
        before stays so."""
        if self.render.get("stays_delivered"):
            self.render = self.deps.deliveries.keep_delivered(self.render, message, self.deps.clock.now())
            return self.publish_outcome()
        self.render = self.deps.deliveries.put_off(self.render, message, self.deps.clock.now())
        return {"outcome": "postponed", "error": problem("delivery_delayed", message)}

    def fail(self, code: ErrorCode, message: str) -> None:
        """The render ends without a picture."""
        try:
            self.render = Ends(self.deps).record_failure(self.render, code, message, charged_for(self.polled))
        except ConditionFailed as moved:
            self.render = as_found(moved, self.render)

    def publish_outcome(self) -> Ending:
        """Tell how it ended, once it has."""
        render, deps = self.render, self.deps
        if self.is_stale():  # it has moved under our hands
            return {"outcome": "delivered"}
        if self.all_tried:
            self.tell_without_the_bucket()
            error_file.write(render, deps.drops, deps.outputs, deps.renders)
            error_file.take_back(render, deps.drops, deps.outputs, deps.renders)
        elif not render.get("announced"):
            cloudevents.announce(render, deps.drops, deps.outputs, deps.topic, deps.renders)
            metrics.emit_outcome(render)
        if render["status"] == Status.DELIVERED:
            return {"outcome": "delivered"}
        return {"outcome": "failed", "error": render["error"]}

    def tell_without_the_bucket(self) -> None:
        """Tell by the event alone: the bucket may be what keeps the picture from being delivered."""
        if self.render.get("announced"):
            return
        self.deps.topic.publish(self.render)
        try:
            self.deps.renders.mark_announced(self.render)
        except Exception:
            logger.exception("that it was told is not on the record")
        self.render = {**self.render, "announced": True}
        metrics.emit_outcome(self.render)


def _name(caught: dict[str, str]) -> str:
    """The name of an error that the workflow has caught."""
    return text.summarize_vendor_message(str(caught.get("Error")), 100)
