"""What is to be uploaded of a pair, so that no more than one picture is paid for it.

S3 has no transaction over objects, and its messages come in any order. So each part that comes to a pair which is
complete makes a render of its own, and all but the last are of a mixture that nobody asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kontext.drops import keys
from kontext_cli.drop.input_bucket import GIVE_ANOTHER_NAME, Bucket, PlannedPair, Refused, UploadObject


@dataclass(frozen=True)
class Job:
    """A pair and what of it is to be uploaded: all, some, or (`kind` is `same`) nothing.

    `changed`: it has been dropped with another content, and is rendered and paid anew.
    """

    pair: PlannedPair
    kind: Literal["new", "changed", "same"]
    uploads: tuple[UploadObject, ...]


def check(bucket: Bucket, pair: PlannedPair, default_prompt: str) -> Job:
    """What is to be uploaded of a pair that the bucket has been looked at for.

    Raises:
        Refused: it would not be rendered, not as it stands here, or each of its parts would be rendered and paid.
    """
    held = [upload for upload in pair.uploads if bucket.holds(upload)]
    _check_the_rest(bucket, pair, held, default_prompt)
    if len(held) == len(pair.uploads):
        return Job(pair, "same", ())
    # Only what is still in the bucket can be rendered again.
    uploads = tuple(upload for upload in pair.uploads if upload not in held or bucket.lacks(upload))
    _check_uploads(bucket, pair, uploads)
    return Job(pair, "changed" if _is_complete(bucket, pair, uploads) else "new", uploads)


def _check_the_rest(bucket: Bucket, pair: PlannedPair, held: list[UploadObject], default_prompt: str) -> None:
    """See that what is not uploaded is there, and that nothing is there which was not meant."""
    for slot in pair.filled:
        if not bucket.has(pair.prefix, slot):
            raise Refused(f"image {slot} is missing, here and in the bucket")
    for key in pair.there:
        if key not in bucket.objects:
            raise Refused(f"its request names {key}, which is neither here nor in the bucket")
    for upload in pair.uploads:
        if upload.slot is None and upload.key in bucket.objects and upload not in held:
            raise Refused(f"it names {upload.key}, which the bucket has with another content", GIVE_ANOTHER_NAME)
    if pair.is_whole and (others := _others(bucket, pair, held)):
        raise Refused(
            f"{pair.prefix} has {', '.join(others)} from before, which would still count",
            f"say here what is wanted instead (a prompt, for example), or {GIVE_ANOTHER_NAME}",
        )
    told = any(bucket.fills(pair.prefix, slot) for slot in keys.SPELLINGS)
    if not (default_prompt or "prompt" in pair.parameters or told):
        raise Refused("it has no prompt, and the stack has no DefaultPrompt")


def _others(bucket: Bucket, pair: PlannedPair, held: list[UploadObject]) -> list[str]:
    """What was dropped before and would decide about something that these objects leave open."""
    ours = {upload.slot for upload in pair.uploads}
    others = []
    if "request" not in ours and bucket.fills(pair.prefix, "request"):
        others.append("request.json")
    if "prompt" not in pair.parameters and "prompt" not in ours and bucket.fills(pair.prefix, "prompt"):
        others.append("prompt.txt")
    images = [upload for upload in held if upload.slot in ("1", "2") and not bucket.lacks(upload)]
    for upload in images:
        if bucket.said_by(pair.prefix, str(upload.slot)).keys() - pair.parameters.keys():
            others.append(f"the metadata of {upload.name}")
    return others


def _check_uploads(bucket: Bucket, pair: PlannedPair, uploads: tuple[UploadObject, ...]) -> None:
    """See that the objects make one render, in whatever order the stack is told of them."""
    parts = tuple(upload for upload in uploads if upload.slot)
    replaced = any(bucket.fills(pair.prefix, str(part.slot)) for part in parts)
    if len(parts) < 2 or not (replaced or _is_complete(bucket, pair, uploads) or _overrules(bucket, pair, parts)):
        return
    names = ", ".join(part.name for part in parts)
    raise Refused(
        f"{len(parts)} parts of it ({names}) differ from what was dropped as {pair.prefix}, and each of them would be "
        "rendered and paid",
        f"{GIVE_ANOTHER_NAME}, or change one part at a time",
        parts,
    )


def _is_complete(bucket: Bucket, pair: PlannedPair, uploads: tuple[UploadObject, ...]) -> bool:
    """Whether the stack has had all that it needs before the objects come."""
    asked = bucket.fills(pair.prefix, "request") and not any(upload.slot == "request" for upload in uploads)
    named = {slot for slot in "12" if asked and f"input_image_{slot}" in pair.parameters}
    loose_are_there = all(upload.key in bucket.objects for upload in pair.uploads if upload.slot is None)
    own = all(bucket.fills(pair.prefix, slot) for slot in {"1", "2"} - named)
    return own and (loose_are_there or not named)


def _overrules(bucket: Bucket, pair: PlannedPair, parts: tuple[UploadObject, ...]) -> bool:
    """Whether a part overrules a prompt that is there already, and would be paid if the part came last."""
    slots = {part.slot for part in parts}
    if "request" in slots and bucket.fills(pair.prefix, "prompt"):
        return True
    told = (slot for slot in "12" if bucket.has(pair.prefix, slot) and slot not in slots)
    return bool(slots & set(keys.SPELLINGS)) and any(bucket.said_by(pair.prefix, slot) for slot in told)
