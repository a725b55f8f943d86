"""What a poll asks Segmind of a job, and in which order. A GET costs nothing."""

from contextlib import suppress

from kontext.errors import RateLimited, SegmindError, Unavailable
from kontext.model import IN_FLIGHT, Status
from kontext.segmind.answers import JobResult, JobStatus
from kontext.segmind.client import Segmind

BAD_STATUSES = 3
"""So many status requests in a row that told nothing, and the result is asked for as well: it may answer."""

MOST_DOUBTS = 3
"""So often a failure that is not confirmed is asked for again."""


class JobRequests:
    """The requests about one job. `misses`: how many in a row told nothing; `doubts`: how often it had failed, and that
    could not be confirmed; `done`: the status that told last that the job is done."""

    def __init__(self, segmind: Segmind, request_id: str, misses: int, doubts: int = 0) -> None:
        self.segmind = segmind
        self.request_id = request_id
        self.misses = misses
        self.doubts = doubts
        self.done: JobStatus | None = None

    def ask(self, submitted_with: str | None, *, last: bool) -> JobStatus | JobResult:
        """Where the job is, and its result once that is complete. The result as well where the status stays bad, and
        at the last poll: it may answer all the same. Raises SegmindError if nothing is known of the job."""
        segmind, request_id, self.done = self.segmind, self.request_id, None
        if last:  # no time is left to ask for one after the other
            with suppress(SegmindError):
                answer = segmind.result(request_id, submitted_with)
                if isinstance(answer, JobResult) or answer.status != Status.FAILED:
                    return answer
        try:
            seen = _known(segmind.status(request_id, submitted_with))
        except SegmindError as failure:
            if self.misses < BAD_STATUSES or isinstance(failure, RateLimited):
                raise
            answer = segmind.result(request_id, submitted_with)
            if isinstance(answer, JobStatus):  # as good as a status, and asked for every few seconds
                self.misses = BAD_STATUSES
            return answer
        if seen.status == Status.COMPLETED:
            self.done = seen
        if seen.status in (Status.COMPLETED, Status.FAILED):
            return self.result_of(seen, submitted_with)
        self.misses = 0
        return seen

    def result_of(self, ended: JobStatus, submitted_with: str | None) -> JobStatus | JobResult:
        """The result of a job that has ended by its status. A job that failed is free, and one that is done is paid:
        where the two contradict each other, or the result is not told, both are asked again, a few times. Raises
        SegmindError as `ask` does."""
        try:
            seen = self.segmind.result(self.request_id, submitted_with)
        except RateLimited:
            raise
        except SegmindError as failure:
            if ended.status == Status.FAILED:
                self.doubt(failure)
                return ended
            raise
        if isinstance(seen, JobResult):
            return seen
        if (ended.status == Status.FAILED) != (seen.status == Status.FAILED):
            self.doubt(Unavailable(f"the job is {ended.status} by its status, and {seen.status} by its result"))
        return ended if ended.status == Status.FAILED else seen

    def doubt(self, why: SegmindError) -> None:
        """A failure is not confirmed. Raises `why`, until that was so a few times."""
        self.doubts += 1
        if self.doubts <= MOST_DOUBTS:
            raise why


def _known(seen: JobStatus) -> JobStatus:
    """A word that nobody knows tells nothing: it may mean that the job is done, and then the result is there."""
    if seen.status not in (*IN_FLIGHT, Status.COMPLETED, Status.FAILED):
        raise Unavailable("Segmind's answer holds a status that is not known")
    return seen
