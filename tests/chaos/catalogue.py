"""The deliberate mistakes, by what they are about, each with the stories that should find it."""

from __future__ import annotations

from tests.chaos.mutants import Change, Mutant

_KONTEXT = "layers/kontext/python/kontext"
_AWS, _OPERATE = f"{_KONTEXT}/aws.py", "cli/kontext_cli/operate.py"
_DECISIONS = "cli/kontext_cli/decisions.py"
_SUBMIT, _PAIRS, _INTAKE = (f"{_KONTEXT}/pipeline/{module}.py" for module in ("submit", "pairs", "intake"))
_PROBE, _POST, _HEAD = (f"{_KONTEXT}/pipeline/{module}.py" for module in ("probe", "post", "head_of_line"))
_BREAKER, _POLL, _DELIVER = (f"{_KONTEXT}/pipeline/{module}.py" for module in ("breaker", "poll", "deliver"))
_WORKFLOW = "workflow.asl.json"


def _layer(module: str, old: str, new: str) -> Change:
    return f"{_KONTEXT}/{module}.py", old, new


CLAIMS = (
    Mutant(
        "a claim without a condition",
        (
            _layer(
                "renders/claims",
                '"attribute_not_exists(#pk)", dict(render)),\n                _make_current',
                '"attribute_not_exists(#none)", dict(render)),\n                _make_current',
            ),
        ),
        ("told twice", "dropped again", "pair"),
    ),
    Mutant(
        "SUBMITTING after the request was sent",
        (
            (
                _SUBMIT,
                "            render = self.deps.submissions.mark_submitting(render, self.deps.clock.now())\n"
                "        except OverLimit",
                "            pass\n        except OverLimit",
            ),
            (
                _POST,
                "            request_id = self.request(body)\n",
                "            request_id = self.request(body)\n"
                "            render = self.deps.submissions.mark_submitting(render, self.deps.clock.now())\n",
            ),
        ),
    ),
    Mutant(
        "a problem that is told for each part that comes to it",
        (
            _layer(
                "renders/claims",
                'hashlib.sha256("\\0".join((pair.prefix, cause, error["message"])).encode())',
                'hashlib.sha256("\\0".join((pair.prefix, str(pair.drop_id))).encode())',
            ),
        ),
        ("a request with a mistake comes before its images",),
    ),
    Mutant(
        "a render that does not depend on its images",
        (_layer("drops/pairs", "request.render_id(prefix, one, two,", 'request.render_id(prefix, "", "",'),),
        ("changed meanwhile",),
    ),
    Mutant(
        "an ETag that is taken for the content",
        (_layer("drops/pairs", 'return image.get("sha256") or image.get("etag")', 'return image.get("etag")'),),
        ("the same photograph again, in parts",),
    ),
    Mutant(
        "an older drop that speaks again",
        (
            _layer("renders/claims", '"#current_count < :drop"]', '"attribute_exists(#pk)"]'),
            _layer("renders/claims", 'f"#drops = :drop AND {one}" for one in allowed', "allowed"),
        ),
        ("changed as the picture comes", "changed meanwhile"),
        kinds=("stall",),
    ),
    Mutant(
        "a render that has failed is not tried again",
        (
            _layer(
                "renders/claims",
                '        if render["status"] == Status.FAILED:\n            return self._begin',
                '        if render["status"] == "NEVER":\n            return self._once',
            ),
        ),
        ("dropped again after it failed",),
    ),
    Mutant(
        "a render that has failed is tried again by a message that comes again",
        (_layer("renders/claims", "if pair.drop_id <= drop_number(render):", "if pair.drop_id < 0:"),),
        ("refused",),
        ("again",),
    ),
    Mutant(
        "a message that comes again decides anew",
        (
            _layer(
                "renders/claims",
                '    if not anew:\n        allowed.append("#current_count = :drop AND #current = :id")',
                '    allowed.append("#current_count = :drop")',
            ),
        ),
        ("a named image is replaced before a message comes a second time",),
    ),
)

LEDGER = (
    Mutant(
        "a job that failed without a workflow, and counts as a workflow that starts",
        (_layer("pipeline/watch", 'or "request_id" not in render or', 'or render["status"] == "FAILED" or'),),
        ("no workflow may be started for twenty minutes, and every job fails",),
    ),
    Mutant(
        "one pair that is refused for the account's reasons, and goes as every trial",
        (_layer("pipeline/requeue", "failed=trial and is_first", "failed=False"),),
        ("403 to one pair alone, among others: {'error': 'forbidden content'}",),
    ),
    Mutant(
        "a pair that is refused for the account's reasons though others are taken, for ever",
        (_layer("pipeline/requeue", "elif of_account and not self.another_went(render):", "elif of_account:"),),
        ("403 to one pair alone, among others: {'error': 'forbidden content'}",),
    ),
    Mutant(
        "a job that failed for want of credits, and fails the pair",
        (_layer("pipeline/requeue", 'refusal_of_job(failed["message"])', "None"),),
        ("jobs fail as the account runs empty, and it is topped up",),
    ),
    Mutant(
        "a failed job whose message repeats a prompt about credits, and keeps all others waiting",
        (_layer("pipeline/requeue", "or is_echo or", "or"),),
        ("a job is blocked in a message that repeats its prompt, which speaks of credits",),
    ),
    Mutant(
        "the price of a failed job that is not given back before the next request",
        (_layer("renders/submissions", 'if render["status"] != Status.CLAIMED and not d', "if not had_job and not d"),),
        ("jobs fail as the account runs empty, and it is topped up",),
    ),
    Mutant(
        "a price that is not given back",
        (
            _layer(
                "renders/submissions",
                'refund = [ledger.give_back(render)] if render["status"] != Status.CLAIMED and not doubtful else []',
                "refund: list[Any] = []",
            ),
        ),
        ("429", "no credits"),
    ),
    Mutant(
        "a price that is given back though a server error may hide a job",
        (_layer("renders/submissions", " and not doubtful else []", " else []"),),
        ("502 once, though the job was taken",),
    ),
    Mutant(
        "an outage whose trials are as dense as if they cost nothing",
        (_layer("throttle/circuit_breaker", "(60.0, 300.0, 600.0, 900.0)", "(1.0,)"),),
        ("502 to 30 pairs for an hour, though every job is taken",),
    ),
    Mutant(
        "lost answers, one after the other, that are no outage",
        (
            _layer(
                "throttle/circuit_breaker", "_MOST_DOUBTFUL, _MANY_LOST = 3, 5", "_MOST_DOUBTFUL, _MANY_LOST = 300, 500"
            ),
        ),
        ("504, to 30 requests, none taken",),
    ),
    Mutant(
        "requests that go though they were stopped while they waited for their slot",
        (_layer("pipeline/slot", "return wait <= 0 or self.deps.throttle.read().stopped is None", "return True"),),
        ("504, to 30 requests, none taken",),
    ),
    Mutant(
        "a trial whenever the balance can be read again, however often it fails",
        (_layer("throttle/circuit_breaker", "told = not breaker.trials or", "told = True or"),),
        ("answers are lost for three hours, and the balance can be read every other time",),
    ),
    Mutant(
        "trials of renders that always fail",
        ((_HEAD, "chain([untried] if untried else [], first)", "iter(first)"),),
        ("12 pairs that always fail (server_error) come before others",),
    ),
    Mutant(
        "a workflow that starts again and ends an outage of Segmind",
        (
            _layer(
                "throttle/circuit_breaker",
                "if reason == WORKFLOW and breaker.reason not in",
                "if False and reason not in",
            ),
        ),
        ("answers are lost for three hours, and Step Functions is away now and then",),
    ),
    Mutant(
        "renders that are paid while no workflow may be started",
        ((_PROBE, "if self.watch.starts_again(unfollowed):", "if True:"),),
        ("no workflow may be started for two hours",),
    ),
    Mutant(
        "a workflow that starts, and nobody finds out",
        ((_PROBE, "if self.watch.starts_again(unfollowed):", "if False:"),),
        ("the answer to the start of a workflow is lost, and others wait in line",),
    ),
    Mutant(
        "a failed render told as free though an earlier request of it may be paid",
        (_layer("renders/settle", 'if error["charged"] == "no" and may_be_charged_before(render):', "if False:"),),
        ("500 though the job is taken, then refused",),
    ),
    Mutant(
        "a job that a server error named, and nobody asks for",
        (
            (_POST, "if job and known:", "if False:"),
            _layer("renders/submissions", 'if job := entry.get("candidate_id"):', "if job := None:"),
        ),
        ("502 to every request, with the id of the job that was taken",),
    ),
    Mutant(
        "a job that a server error named, and another request while Segmind does not tell of it",
        (_layer("pipeline/candidate", "return known is not False", "return bool(known)"),),
        ("500 with the id of the job that was taken, and the first four looks at it fail",),
    ),
    Mutant(
        "a job that an answer named, looked for with another key than it was sent with",
        (
            _layer("pipeline/candidate", 'candidate_id, render.get("submitted_with")', "candidate_id"),
            _layer("renders/submissions", 'ended["submitted_with"] = render.get("submitted_with")', "pass"),
        ),
        ("the answer breaks off, and the key is replaced while the job runs",),
    ),
    Mutant(
        "requests that are paid while no workflow starts",
        ((f"{_KONTEXT}/pipeline/watch.py", "self.breaker.open(WORKFLOW, render, trial=trial)", "pass"),),
        ("stepfunctions away for 10 minutes",),
    ),
    Mutant(
        "paid jobs that nobody looks for while no workflow starts",
        (
            (
                f"{_KONTEXT}/pipeline/watch.py",
                "render, failure = Poll(self.deps, _state_of(render)).poll_once(render)",
                "failure = None",
            ),
        ),
        ("stepfunctions away for 180 minutes",),
    ),
    Mutant(
        "a submit that the ledger does not know",
        (_layer("renders/submissions", "noted, reserve, **reserved)", "noted, **reserved)"),),
    ),
    Mutant(
        "a limit that lets one more go",
        (_layer("renders/ledger", "daily_limit - price, 6)", "daily_limit, 6)"),),
        ("spend limit until midnight",),
    ),
    Mutant(
        "a price that is given back though the picture was paid",
        (_layer("renders/store", 'if CODES[error["code"]].charged == "no" and', "if"),),
        ("the picture cannot be fetched",),
    ),
    Mutant(
        "a cost that is more than was reserved, and is not counted",
        (_layer("renders/ledger", "round(max(0.0, cost - reserved), 6)", "0.0"),),
        ("the price is doubled",),
    ),
    Mutant(
        "a cost that is less than was reserved, and is believed",
        (_layer("renders/ledger", "round(max(0.0, cost - ", "round((cost - "),),
        ("a cost of nothing is stated",),
    ),
)

ANSWERS = (
    Mutant(
        "a request sent again when its answer is lost",
        (_layer("segmind/client", "@door(Ambiguous)", "@door(Unavailable)"),),
        kinds=("time-out with effect",),
    ),
    Mutant(
        "a gateway's time-out taken for a refusal",
        (_layer("segmind/answers", "if status in (408, 425):", "if status in (408, 425, 504):"),),
        kinds=("gateway time-out",),
    ),
    Mutant(
        "a look without an answer that ends the render",
        (
            (
                _POLL,
                "            return self.missed(render, failure), None",
                "            return self.missed(render, failure), str(failure)",
            ),
        ),
        ("trouble with looks", "pair"),
    ),
    Mutant(
        "a failure is believed though the result says that the job runs",
        (_layer("pipeline/job_requests", "self.misses < BAD_STATUSES:\n", "self.misses < 0:\n"),),
        ("one status says FAILED, and the picture is there",),
    ),
    Mutant(
        "a failure is believed though the result could not be asked",
        (
            _layer(
                "pipeline/job_requests",
                "if ended.status == Status.FAILED and self.misses >= BAD_STATUSES:",
                "if ended.status == Status.FAILED:",
            ),
        ),
        ("one status says FAILED, and the picture is there",),
        ("time-out with effect",),
    ),
    Mutant(
        "a failure is believed though the picture is there",
        (_layer("pipeline/job_requests", "in (Status.COMPLETED, Status.FAILED):\n", "in (Status.COMPLETED,):\n"),),
        ("the status of a job that is done says FAILED, and the picture is there",),
    ),
    Mutant(
        "a job that is not known once is believed to be gone",
        ((_POLL, "            if due is None:", "            if due is None or self.is_gone:"),),
        ("trouble with looks",),
    ),
    Mutant(
        "a delivered render that cannot be delivered again is not delivered any more",
        (
            _layer("pipeline/deliver", 'if self.render.get("stays_delivered"):', "if False:"),
            _layer("pipeline/overdue", 'if render.get("stays_delivered"):', "if False:"),
            _layer("pipeline/deliver", "restored or ", ""),
        ),
        ("delivered again when the vendor has deleted the picture",),
    ),
    Mutant(
        "a job is asked for with the newest key alone",
        (_layer("segmind/client", "if status in (401, 404) and submitted_with and", "if False and"),),
        ("the key is replaced while both are valid, and each sees only its own jobs",),
    ),
    Mutant(
        "a picture that cannot be copied for minutes is given up",
        (
            _layer(
                "pipeline/deliver",
                "            return self.put_off(message)\n",
                '            self.fail("delivery", message)\n',
            ),
        ),
        ("the file host answers 503 for an hour",),
    ),
    Mutant(
        "that a picture is late is told by nobody",
        (_layer("pipeline/overdue", "            if is_late(render, now):", "            if False:"),),
        ("the file host answers 503 for an hour",),
    ),
    Mutant(
        "the result is not asked for while the status stays bad",
        (_layer("pipeline/job_requests", "if self.misses < BAD_STATUSES or", "if True or"),),
        ("the status stays bad, and the result would answer",),
    ),
    Mutant(
        "the first of several links is taken, wherever it leads",
        (_layer("pipeline/job_record", "self.deps.allowed.first([*result.links, *result.others]) or ", ""),),
        ("of two links the second leads to an allowed host",),
    ),
    Mutant(
        "what stands behind a picture is not looked at",
        (_layer("images/inspection", "    behind.check(source)\n", "    source.drain()\n"),),
        ("a photograph has a web page behind it",),
    ),
    Mutant(
        "an object that may not be read is tried again and again",
        (
            _layer(
                "drops/input_bucket",
                'if (code in _CLOSED or code.startswith("KMS.")) and not is_our_role:',
                "if False:",
            ),
        ),
        ("a photograph is encrypted with a key of another account",),
    ),
    Mutant(
        "a link to whatever is newest",
        (_layer("drops/input_bucket", 'if read.get("version_id") else {}', "if False else {}"),),
    ),
)

THROTTLE = (
    Mutant(
        "a burst that is not paid back",
        (_layer("throttle/rate_limiter", "reserved = now + rate.at_once *", "reserved = now + 1 *"),),
        ("in line",),
    ),
    Mutant(
        "slots that are too near to one another",
        (_layer("throttle/rate_limiter", "WINDOW_SECONDS = 61.0", "WINDOW_SECONDS = 50.0"),),
        ("in line",),
    ),
    Mutant(
        "a 429 after which the next one goes at once",
        (
            _layer(
                "throttle/rate_limiter",
                "next_free=max(slots.next_free, sane_reset(reset_at, now))",
                "next_free=slots.next_free",
            ),
        ),
        ("429",),
    ),
    Mutant(
        "a reset that is read by our own clock",
        (_layer("throttle/rate_limiter", "return now + left if", "return reset_at if"),),
        ("the vendor's clock is two minutes ahead", "the vendor's clock is two minutes behind"),
    ),
    Mutant(
        "an open circuit breaker that lets fresh drops go",
        (
            _layer(
                "throttle/admission", "    if state.stopped:\n        return join", "    if False:\n        return join"
            ),
        ),
        ("thirty pairs wait forty minutes for credits", "five pairs come while there are no credits"),
    ),
    Mutant(
        "a refusal that opens no circuit breaker",
        (
            (
                _BREAKER,
                "self.deps.throttle.open_breaker(reason, self.deps.clock.now(), trial=trial, unfollowed=unfollowed)",
                "self.deps.throttle.read()",
            ),
        ),
        ("five pairs come while there are no credits",),
    ),
    Mutant(
        "a circuit breaker that stays open after a good answer",
        ((_POST, "        if trial:\n            self.close_breaker()", "        if trial:\n            pass"),),
        ("thirty pairs wait forty minutes for credits",),
    ),
    Mutant(
        "trials that are put off for ever",
        (
            _layer(
                "throttle/circuit_breaker", "_TRIAL_SECONDS = (60.0, 120.0, 300.0)", "_TRIAL_SECONDS = (60.0, 9e5, 9e5)"
            ),
        ),
        ("the model is unknown for ten minutes",),
    ),
    Mutant(
        "whoever comes goes before those in line",
        (_layer("throttle/admission", "if not state.joined_at and at - now", "if at - now"),),
        ("newcomers while others are in line",),
    ),
)

WAITING = (
    Mutant(
        "a claim whose lease nobody looks at again",
        (
            _layer(
                "due",
                'return Due(TIMER, float(render["lease_until"]) + LEASE_GRACE_SECONDS)',
                "return None",
            ),
        ),
        ("pair", "told twice"),
    ),
    Mutant(
        "nobody hands out permits",
        (
            _layer(
                "throttle/line",
                "hints.send_permits(throttle.see_line(now, waiting), now)",
                "throttle.see_line(now, waiting)",
            ),
        ),
        ("the queue is purged while pairs are in line", "in line"),
    ),
    Mutant(
        "a refused render that loses its place",
        (_layer("pipeline/requeue", "line_at = place or self.deps.line.place", "line_at = self.deps.line.place"),),
        ("newcomers while others are in line",),
    ),
    Mutant(
        "a line in which a folder's flood goes first",
        (_layer("throttle/line", "folder if slash else", "0 if slash else"),),
        ("a pair comes behind another folder's flood",),
    ),
    Mutant(
        "a pair that is claimed as it was told, and not as it lies in the bucket",
        ((_PAIRS, "pair = self.reader.read(pair)", "pass"),),
        ("one sync of four files, an image last, and the message of the request is late",),
    ),
    Mutant(
        "an image that was replaced, and whose other half is not waited for",
        (_layer("drops/pairs", "return is_own == [True]", "return False"),),
        ("both images are exchanged",),
    ),
    Mutant(
        "a pair that settles, and that only a sweep looks at again",
        ((_PAIRS, "self.deps.hints.send_due(pairs.pair_key(pair.prefix), until - now)", "pass"),),
        ("no prompt",),
    ),
    Mutant(
        "a pair that settles, and that no sweep finds",
        ((_PAIRS, "if self.deps.drops.settle(pair.prefix, until):", "if True:"),),
        ("the queue is purged while a pair waits for a prompt",),
    ),
    Mutant(
        "a render in line that is sent though it was replaced",
        (
            (
                _HEAD,
                "if asked := self.last_look.confirm(render, pair):\n            body",
                "if asked := render:\n            body",
            ),
        ),
        ("a pair is changed long before the credits come",),
    ),
    Mutant(
        "a removal that nobody hears of",
        ((_INTAKE, "if event.removed:", "if False:"),),
        ("a wrong request is deleted",),
    ),
    Mutant(
        "what was taken back, and is paid all the same",
        ((f"{_KONTEXT}/pipeline/last_look.py", "if isinstance(decision, pairs.Incomplete):", "if False:"),),
        ("a whole pair is deleted while it waits for credits",),
    ),
)

REFERENCES = (
    Mutant(
        "a request may name everybody's objects",
        (_layer("drops/references", "if EVERYTHING in self.shared or", "if True or"),),
        ("a request names an image of another's folder",),
    ),
    Mutant(
        "a first folder is taken for every folder that begins like it",
        (_layer("drops/references", "own = keys.first_folder_of(prefix)", 'own = prefix.partition("/")[0]'),),
        ("a request names an image of a folder whose name begins with that of its own",),
    ),
    Mutant(
        "a deployment refuses what waits already",
        (
            _layer(
                "pipeline/reading",
                "            named = {key:",
                '            asked = pair.parts.get("request", {}).get("parameters", {})\n'
                "            self.deps.inputs.references.check(pair.prefix, asked)\n"
                "            named = {key:",
            ),
        ),
        ("nothing is shared any more while a pair waits for the image that its request names",),
    ),
    Mutant(
        "nobody notes who waits for an object",
        ((_PAIRS, "self.deps.waiters.add(key, pair.prefix, etag, now, is_named=is_named)", "pass"),),
        ("a named image comes last",),
    ),
    Mutant(
        "an object that comes while its pair is noted is not seen",
        ((_PAIRS, "if there != wanted:", "if False:"),),
        ("a named image comes last",),
        ("stall",),
    ),
    Mutant(
        "one of all those who wait is woken",
        (
            _layer("pipeline/waking", "in enumerate(waiting):", "in enumerate(waiting[:1]):"),
            _layer("drops/waiters", "if next(self.to_wake(key), None) is None:", "if True:"),
        ),
        ("two pairs wait for one image",),
    ),
    Mutant(
        "whoever waits is forgotten before he goes on",
        (
            _layer(
                "pipeline/waking",
                "            if pair := self.pair_of(waiter, is_gone=is_gone):\n",
                "            self.deps.waiters.remove(key, waiter)\n"
                "            if pair := self.pair_of(waiter, is_gone=is_gone):\n",
            ),
        ),
        ("a named image comes last",),
        ("crash before", "crash after"),
    ),
    Mutant(
        "a crowd is woken within one message",
        (
            _layer("drops/waiters", "PAGE = 20", "PAGE = 100_000"),
            _layer("pipeline/waking", "MESSAGE = 10.0", "MESSAGE = 10_000.0"),
            _layer("drops/redelivery", "MESSAGE = 70.0", "MESSAGE = -1.0"),
        ),
        ("a thousand requests wait for one photograph",),
    ),
    Mutant(
        "who begins to wait anew is struck off",
        (_layer("drops/waiters", '"#seen = :seen", seen=waiter.seen)', '"attribute_exists(#pk)")'),),
        ("a named image comes, is no picture, and is replaced",),
    ),
    Mutant(
        "a name without a slash that begins at the root",
        (_layer("drops/keys", "folder_of(prefix) + name", "name"),),
        ("a named image under a name of no part",),
    ),
    Mutant(
        "the default prompt is paid though one lies beside the pair",
        ((_PAIRS, "self.near_misses.prompt_beside(pair) or complete", "complete"),),
        ("a request lies beside a pair with a word before it",),
    ),
    Mutant(
        "what was in a pair's way keeps it waiting though it is deleted",
        ((_INTAKE, "            if not expired:\n                self.waker.on_change(key)", "            pass"),),
        ("a prompt that is named like a copy is deleted",),
    ),
    Mutant(
        "a text stays in others' way though its own pair has begun",
        ((_INTAKE, "sorted({key, *texts})", "[key]"),),
        ("a request with a slash too many gets an image of its own",),
    ),
    Mutant(
        "what systems leave lying taken for drops",
        (
            (_INTAKE, "keys.is_litter(key, event.size):", "False:"),
            _layer("drops/keys", "if match is None or is_litter(key):", "if match is None:"),
        ),
        ("files of the operating system lie beside a pair",),
    ),
    Mutant(
        "an object that comes back wakes nobody",
        (
            (
                _INTAKE,
                "        elif is_there:\n            self.on_loose_object",
                "        elif False:\n            self.on_loose_object",
            ),
        ),
        ("a named image is hidden, and restored",),
    ),
    Mutant(
        "a pair that was taken back is never rendered",
        ((_PAIRS, 'get("code") in TAKEN_BACK', 'get("code") is TAKEN_BACK'),),
        ("a pair that was taken back while it waited is restored",),
    ),
    Mutant(
        "nobody is told of an image that is named in other letters",
        ((_PAIRS, "or self.near_misses.named_beside(wanted):", "or None:"),),
        ("an image comes under a name that only looks like the one that a request names",),
    ),
    Mutant(
        "an image is not seen under another extension",
        (_layer("pipeline/reading", "else self.find_another(left, slot)", "else left"),),
        ("an image comes under another extension, and that one is taken away",),
    ),
    Mutant(
        "a drop in SNS's envelope taken for none",
        (_layer("drops/messages", "return _json_object(inner)", "return content"),),
        ("drops that SNS has wrapped",),
    ),
    Mutant(
        "an object that is called unknown though a request names it",
        (
            (
                _PAIRS,
                "keys.parse(key) and self.deps.loose.mark_referenced(key):",
                "keys.parse(key) and self.deps.loose.mark_referenced(key) and False:",
            ),
        ),
        ("a name of no part is explained later",),
    ),
)

DELIVERY = (
    Mutant(
        "a picture that our own bucket keeps, paid again",
        (_layer("renders/overdue", 'RESTORE_SECONDS if "result" in render else OUTPUT_SECONDS', "OUTPUT_SECONDS"),),
        ("another prompt, and the first one again after eight days",),
    ),
    Mutant(
        "a picture that our own bucket keeps, given up before it is put back",
        (_layer("renders/overdue", 'if "restore_from" in render else 0.0', "if False else 0.0"),),
        ("another prompt, and the first one again after eight days, as the bucket is away",),
    ),
    Mutant(
        "a result that replaces a newer one",
        ((_DELIVER, 'overtaken = pair is not None and pair.current != render["render_id"]', "overtaken = False"),),
        ("changed meanwhile", "changed at once"),
    ),
    Mutant(
        "a picture that is put over whatever stands there",
        (
            _layer(
                "results/output_bucket", "**self.described, **self.condition, Body=body", "**self.described, Body=body"
            ),
        ),
        ("changed as the picture comes",),
        ("stall",),
    ),
    Mutant(
        "an overtaken picture that takes another one away",
        (_layer("results/output_bucket", 'ours.items() <= head["Metadata"].items()', "True"),),
        ("changed meanwhile", "changed at once"),
    ),
    Mutant(
        "an overtaken picture that stays where it was put",
        ((_DELIVER, 'self.deps.outputs.remove_if_ours(key, {"render-id": render["render_id"]})', "pass"),),
        ("changed in form as the picture comes",),
    ),
    Mutant(
        "a result in an older format that stays",
        ((_DELIVER, "for stale in pair.written - {key, error_key}:", "for stale in ():"),),
        ("changed in form",),
    ),
    Mutant(
        "an error file that stays beside the picture",
        ((_DELIVER, "if error_key in pair.written:", "if False:"),),
        ("dropped again after it failed", "a wrong request, corrected"),
    ),
)

ANNOUNCING = (
    Mutant(
        "an end that is told once or never",
        (
            _layer(
                "due",
                'return Due(ended, now) if render.get("announced") else Due(TIMER, now + TELL_SECONDS)',
                "return Due(ended, now)",
            ),
        ),
        ("refused", "a wrong image", "the answer is lost"),
    ),
    Mutant(
        "a gate that is closed and opened, and nobody is told",
        (_layer("results/cloudevents", "topic.publish_change(change)", "pass"),),
        ("no credits",),
    ),
    Mutant(
        "a breaker that opens and closes untold",
        (_layer("throttle/circuit_breaker", "    elif stop.ended:", "    elif stop.ended and False:"),),
        ("no credits",),
    ),
    Mutant(
        "an event that has another id each time",
        (_layer("results/cloudevents", "{kind.partition('.')[2]}", "{kind.partition('.')[2]}.{render['revision']}"),),
    ),
    Mutant(
        "an end that is noted as told before it is",
        (
            _layer(
                "results/cloudevents",
                "        topic.publish(render)\n        renders.mark_announced(render)\n",
                "        renders.mark_announced(render)\n        topic.publish(render)\n",
            ),
        ),
        ("refused", "pair"),
        ("crash before", "crash after"),
    ),
    Mutant(
        "a failure without an error file",
        (
            _layer(
                "results/cloudevents",
                'if "error" not in render:',
                'if "none" not in render:',
            ),
        ),
        ("refused",),
    ),
    Mutant(
        "a picture that is found while the table does not answer, and is forgotten",
        ((_POLL, "found = None if self.found_before else self.find_unrecorded()", "found = None"),),
        ("dynamodb away for 70 minutes",),
    ),
    Mutant(
        "a picture that was found, of a render that was ended before it could be recorded",
        (_layer("pipeline/job_record", "if may_be_paid(render):", "if False:"),),
        ("dynamodb away for 70 minutes", "dynamodb away for 180 minutes", "dynamodb and sqs away for 70 minutes"),
    ),
    Mutant(
        "an error file that is written late, and stays beside the picture",
        (
            _layer(
                "results/cloudevents",
                'if "error" in render and not _speaks_for_its_pair(render, drops, renders):',
                "if False:",
            ),
        ),
        ("resubmitted while a slow Submit still writes the error file",),
    ),
    Mutant(
        "an error file for what a newer drop has replaced",
        (
            _layer(
                "results/cloudevents",
                'return now["render_id"] == pair.current',
                "return True",
            ),
        ),
        ("changed while parked", "a wrong request that is told last"),
    ),
)

OPERATOR = (
    Mutant(
        "an adopted job that nobody looks at",
        ((_DECISIONS, "self.operator.workflow.start(render, wait=0)", "pass"),),
        ("the answer is lost, and the operator says: request-id",),
    ),
    Mutant(
        "an id that is taken on trust",
        ((_DECISIONS, "self.operator.segmind.status(request_id)", "pass"),),
        ("an id with a wrong digit, and the right one later",),
    ),
    Mutant(
        "an id that another record has",
        (
            (
                _DECISIONS,
                "self._refuse_other(render, self._jobs.get(request_id.lower())",
                "self._refuse_other(render, None",
            ),
        ),
        ("another pair's id", "the id of another job of the same pair"),
    ),
    Mutant(
        "a job that a broken answer names and nobody looks for again",
        (_layer("renders/overdue", 'return "verify"', 'return "announce"'),),
        ("an answer with the job's id breaks off, and no job is known for two minutes",),
    ),
    Mutant(
        "a cost that is believed whatever it is",
        (_layer("renders/ledger", "0 < cost <= BELIEVED_PRICES * price", "cost >= 0"),),
        ("a cost of 30 USD is stated once",),
    ),
    Mutant(
        "a redelivery that starts nothing",
        ((_OPERATE, "self.workflow.start(render, wait=0)", "True"),),
        ("the host of the picture is allowed, and it is delivered again",),
    ),
    Mutant(
        "what was given up is not told",
        ((_DECISIONS, "announce(render, operator.drops, outputs, operator.topic, operator.renders)", "pass"),),
        ("the request is lost, and the operator gives it up",),
    ),
    Mutant(
        "what an operator sends again stands in no line",
        ((_DECISIONS, 'render["drop_id"], now, line_at=line_at)', 'render["drop_id"], now)'),),
        ("the answer is lost, and the operator says: resubmit",),
    ),
    Mutant(
        "a pause past which permits let renders go",
        (
            _layer(
                "throttle/admission",
                "    if state.paused.reason or (state.breaker.reason and not trial):",
                "    if state.breaker.reason and not trial:",
            ),
        ),
        ("the operator pauses while five are in line",),
    ),
    Mutant(
        "a pause that nothing ends",
        (_layer("throttle/throttle", "paused=end(state.paused, now), breaker=breaker", "breaker=breaker"),),
        ("goes on soon after the operator resumes",),
    ),
)


TIMEOUTS = (
    Mutant(
        "botocore's own time-outs and tries",
        ((_AWS, "ANSWER_SECONDS = 5.0", "ANSWER_SECONDS = 60.0"), (_AWS, "TRIES = 3", "TRIES = 5")),
        kinds=("time-out without effect", "time-out with effect"),
    ),
    Mutant(
        "an AWS service that is waited for as long as a function lives",
        ((_AWS, "ANSWER_SECONDS = 5.0", "ANSWER_SECONDS = 50.0"),),
        kinds=("time-out without effect", "time-out with effect"),
    ),
)

WORKFLOW = (
    Mutant(
        "executions without a name of their own",
        (
            _layer(
                "renders/workflow", "name=execution_name(render)", "name=execution_name(render) + uuid.uuid4().hex[:6]"
            ),
            _layer("renders/workflow", "from typing import", "import uuid\nfrom typing import"),
        ),
        ("the right id twice at once", "told twice", "pair"),
    ),
    Mutant(
        "a request_id that only the record knows",
        (
            _layer(
                "pipeline/job_record", 'if render["status"] not in (Status.SUBMITTING, Status.UNCERTAIN):', "if True:"
            ),
        ),
        kinds=("error",),
    ),
    Mutant(
        "a failed message taken for done",
        (_layer("drops/redelivery", "return self._retry(record, problem)", "return True"),),
        kinds=("error",),
    ),
    Mutant(
        "what a recorded drop asks for is not looked at again after it has failed",
        ((_PAIRS, "self.deps.drops.look_again(pair.prefix, self.deps.clock.now())", "pass"),),
        ("nine pairs in one batch",),
        kinds=("error",),
    ),
    Mutant(
        "a message that kills its function is worked on before others",
        (_layer("drops/redelivery", 'if deaths[record["messageId"]]]', "if False]"),),
        ("nine pairs in one batch with an image that is larger than the memory",),
    ),
    Mutant(
        "a look that crashes and is not repeated",
        ((_WORKFLOW, '"MaxAttempts": 24', '"MaxAttempts": 0'),),
        kinds=("crash before",),
    ),
    Mutant(
        "a delivery that crashes and is not repeated",
        ((_WORKFLOW, '"MaxAttempts": 12\n', '"MaxAttempts": 0\n'),),
        kinds=("crash before",),
    ),
    Mutant(
        "a wait that is taken for the end",
        ((_WORKFLOW, '"StringEquals": "waiting"', '"StringEquals": "never"'),),
        ("slow",),
    ),
    Mutant(
        "a delivery that is to be tried again and is not",
        ((_WORKFLOW, '"StringEquals": "again"', '"StringEquals": "never"'),),
        ("the picture is late",),
    ),
    Mutant(
        "a failed message that is not told from the others",
        (("template.yaml", "FunctionResponseTypes: [ReportBatchItemFailures]", "FunctionResponseTypes: []"),),
        kinds=("error",),
    ),
    Mutant(
        "a message that is given up when it comes back",
        (("template.yaml", "maxReceiveCount: 10", "maxReceiveCount: 1"),),
        kinds=("crash before",),
    ),
)

AREAS = {
    "claims": CLAIMS,
    "the ledger": LEDGER,
    "the vendor's answers": ANSWERS,
    "throttle": THROTTLE,
    "waiting": WAITING,
    "references": REFERENCES,
    "delivery": DELIVERY,
    "announcing": ANNOUNCING,
    "the operator's commands": OPERATOR,
    "time-outs": TIMEOUTS,
    "the workflow": WORKFLOW,
}
MUTANTS: tuple[Mutant, ...] = tuple(mutant for mutants in AREAS.values() for mutant in mutants)
