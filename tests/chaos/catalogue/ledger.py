"""Deliberate mistakes about the money of a day."""

from __future__ import annotations

from tests.chaos.catalogue.places import HEAD, KONTEXT, POST, PROBE, in_layer
from tests.chaos.mutants import Mutant

LEDGER = (
    Mutant(
        "a job that failed without a workflow, and counts as a workflow that starts",
        (in_layer("pipeline/watch", 'or "request_id" not in render or', 'or render["status"] == "FAILED" or'),),
        ("no workflow may be started for twenty minutes, and every job fails",),
    ),
    Mutant(
        "one pair that is refused for the account's reasons, and goes as every trial",
        (in_layer("pipeline/requeue", '"refusal" if trial or is_no_trial else None', "None"),),
        ("403 to one pair alone, among others: {'error': 'forbidden content'}",),
    ),
    Mutant(
        "a pair that is refused for the account's reasons though others are taken, for ever",
        (
            in_layer(
                "pipeline/requeue",
                'elif of_account and not self.another_went_since(render.get("refused_at")):',
                "elif of_account:",
            ),
        ),
        ("403 to one pair alone, among others: {'error': 'forbidden content'}",),
    ),
    Mutant(
        "a pair that had failed for another reason, and is refused for the account's",
        (in_layer("pipeline/requeue", 'render.get("refused_at")', 'render.get("failed_at")'),),
        ("credits run out while a folder is in line, and one of it had failed before",),
    ),
    Mutant(
        "a job that failed for want of credits, and fails the pair",
        (in_layer("pipeline/requeue", 'refusal_of_job(failed["message"])', "None"),),
        ("jobs fail as the account runs empty, and it is topped up",),
    ),
    Mutant(
        "a failed job whose message repeats a prompt about credits, and keeps all others waiting",
        (in_layer("pipeline/requeue", "or is_echo or", "or"),),
        ("a job is blocked in a message that repeats its prompt, which speaks of credits",),
    ),
    Mutant(
        "the price of a failed job that is not given back before the next request",
        (
            in_layer(
                "renders/submissions", 'if render["status"] != Status.CLAIMED and not d', "if not had_job and not d"
            ),
        ),
        ("jobs fail as the account runs empty, and it is topped up",),
    ),
    Mutant(
        "a price that is not given back",
        (
            in_layer(
                "renders/submissions",
                'refund = [ledger.give_back(render)] if render["status"] != Status.CLAIMED and not doubtful else []',
                "refund: list[Any] = []",
            ),
        ),
        ("429", "no credits"),
    ),
    Mutant(
        "a price that is given back though a server error may hide a job",
        (in_layer("renders/submissions", " and not doubtful else []", " else []"),),
        ("502 once, though the job was taken",),
    ),
    Mutant(
        "an outage whose trials are as dense as if they cost nothing",
        (in_layer("throttle/circuit_breaker", "(60.0, 300.0, 600.0, 900.0)", "(1.0,)"),),
        ("502 to 30 pairs for an hour, though every job is taken",),
    ),
    Mutant(
        "lost answers, one after the other, that are no outage",
        (
            in_layer(
                "throttle/circuit_breaker", "_MOST_DOUBTFUL, _MANY_LOST = 3, 5", "_MOST_DOUBTFUL, _MANY_LOST = 300, 500"
            ),
        ),
        ("504, to 30 requests, none taken",),
    ),
    Mutant(
        "a trial whenever the balance can be read again, however often it fails",
        (in_layer("throttle/circuit_breaker", "told = not breaker.trials or", "told = True or"),),
        ("answers are lost for three hours, and the balance can be read every other time",),
    ),
    Mutant(
        "trials of renders that always fail",
        ((HEAD, "chain([untried] if untried else [], first)", "iter(first)"),),
        ("403 to one pair alone, among others: {'error': 'forbidden content'}",),
    ),
    Mutant(
        "a workflow that starts again and ends an outage of Segmind",
        (
            in_layer(
                "throttle/circuit_breaker",
                "if reason == WORKFLOW and breaker.reason not in",
                "if False and reason not in",
            ),
        ),
        ("answers are lost for three hours, and Step Functions is away now and then",),
    ),
    Mutant(
        "renders that are paid while no workflow may be started",
        ((PROBE, "if self.watch.starts_again(unfollowed):", "if True:"),),
        ("no workflow may be started for two hours",),
    ),
    Mutant(
        "a workflow that starts, and nobody finds out",
        ((PROBE, "if self.watch.starts_again(unfollowed):", "if False:"),),
        ("the answer to the start of a workflow is lost, and others wait in line",),
    ),
    Mutant(
        "a failed render told as free though an earlier request of it may be paid",
        (in_layer("renders/settle", 'if error["charged"] == "no" and may_be_charged_before(render):', "if False:"),),
        ("500 though the job is taken, then refused",),
    ),
    Mutant(
        "a job that a server error named, and nobody asks for",
        (
            (POST, "if job and known:", "if False:"),
            in_layer("renders/submissions", 'if job := entry.get("candidate_id"):', "if job := None:"),
        ),
        ("502 to every request, with the id of the job that was taken",),
    ),
    Mutant(
        "a job that a server error named, and another request while Segmind does not tell of it",
        (in_layer("pipeline/candidate", "return known is not False", "return bool(known)"),),
        ("500 with the id of the job that was taken, and the first four requests for it fail",),
    ),
    Mutant(
        "a job that an answer named, looked for with another key than it was sent with",
        (
            in_layer("pipeline/candidate", 'candidate_id, render.get("submitted_with")', "candidate_id"),
            in_layer("renders/submissions", 'ended["submitted_with"] = render.get("submitted_with")', "pass"),
        ),
        ("the answer breaks off, and the key is replaced while the job runs",),
    ),
    Mutant(
        "requests that are paid while no workflow starts",
        ((f"{KONTEXT}/pipeline/watch.py", "self.breaker.open(WORKFLOW, render, trial=trial)", "pass"),),
        ("stepfunctions away for 10 minutes",),
    ),
    Mutant(
        "paid jobs that nobody looks for while no workflow starts",
        (
            (
                f"{KONTEXT}/pipeline/watch.py",
                "render, failure = Poll(self.deps, state_of(render)).poll_once(render)",
                "failure = None",
            ),
        ),
        ("stepfunctions away for 180 minutes",),
    ),
    Mutant(
        "a submit that the ledger does not know",
        (in_layer("renders/submissions", "noted, reserve, **reserved)", "noted, **reserved)"),),
    ),
    Mutant(
        "a limit that lets one more go",
        (in_layer("renders/ledger", "daily_limit - price, 6)", "daily_limit, 6)"),),
        ("spend limit until midnight",),
    ),
    Mutant(
        "a price that is given back though the picture was paid",
        (in_layer("renders/store", 'if CODES[error["code"]].charged == "no" and', "if"),),
        ("the picture cannot be fetched",),
    ),
    Mutant(
        "a cost that is more than was reserved, and is not counted",
        (in_layer("renders/ledger", "round(max(0.0, cost - reserved), 6)", "0.0"),),
        ("the price is doubled",),
    ),
    Mutant(
        "a cost that is less than was reserved, and is believed",
        (in_layer("renders/ledger", "round(max(0.0, cost - ", "round((cost - "),),
        ("a cost of less than the price is stated",),
    ),
)
