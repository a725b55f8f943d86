"""What a request may name as its images: objects of its own first folder, what the stack shares, and public links.

Droppers who may write to one first folder each are kept apart: nobody gets another's photograph, or learns whether it
is there. So a name is judged before anything is looked for; and once, when the request is read: no deployment refuses
what waits already.
"""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from kontext import text
from kontext.drops import keys
from kontext.errors import BadDrop
from kontext.model import Parameters

FIELDS: dict[str, Literal["input_image_1", "input_image_2"]] = {"1": "input_image_1", "2": "input_image_2"}
"""The parameters that name another image for a slot."""
EVERYTHING = "*"


@dataclass(frozen=True)
class References:
    """The rule of one stack. `shared`: how the keys begin that every request may name; a bucket that is not known is
    empty."""

    shared: tuple[str, ...] = ()
    input_bucket: str = ""
    output_bucket: str = ""

    @classmethod
    def of_stack(cls, shared_prefixes: str, input_bucket: str, output_bucket: str) -> "References":
        """As the stack's parameter says: prefixes that are separated by commas."""
        shared = tuple(filter(None, map(str.strip, shared_prefixes.split(","))))
        return cls(shared, input_bucket, output_bucket)

    def check(self, prefix: str, asked: Parameters) -> None:
        """See that a request under a prefix may name its images.

        Raises:
            BadDrop: it may not, or a name is not one.
        """
        for field in FIELDS.values():
            name = asked.get(field)
            if name and is_link(name):
                self._check_link(field, name)
            elif name:
                self._check_key(field, prefix, key_named(prefix, field, name))

    def _check_key(self, field: str, prefix: str, key: str) -> None:
        own = keys.first_folder_of(prefix)
        if EVERYTHING in self.shared or key.startswith((own, *self.shared)):
            return
        allowed = " and ".join(map(text.escape_line, (own, *self.shared)))
        raise BadDrop(
            "invalid_request",
            f"request.json: {field} names {text.escape_line(key)}; a request in {text.escape_line(own)} may name only "
            f"what lies in {allowed}: copy the picture there and name the copy, or let the operator add its folder to "
            "the stack's parameter SharedPrefixes, and drop this file again",
        )

    def _check_link(self, field: str, link: str) -> None:
        """A result is no input again; an object of the input bucket is named, by the rule for names."""
        if _leads_to(link, self.output_bucket):
            wrong = "leads to the output bucket; copy the picture to the input bucket to use it"
        elif _leads_to(link, self.input_bucket):
            wrong = "leads to the input bucket; name the object by its key, with a '/' before it, instead of a link"
        else:
            return
        raise BadDrop("invalid_request", f"request.json: {field} {wrong}")


def _leads_to(link: str, bucket: str) -> bool:
    """Whether a link leads to a bucket: every address that S3 has for one names it, in the host or in the path."""
    return bool(bucket) and bucket.lower() in unquote(link).lower()


def is_link(name: str) -> bool:
    """Whether an image is named by a link, and not by a key."""
    return name.lower().startswith("https://")


def key_named(prefix: str, field: str, name: str) -> str:
    """The key that a request under a prefix names. Raises BadDrop where it is none."""
    try:
        if "://" in name:
            raise ValueError("must be an https URL, or name an object of the input bucket")
        return keys.resolve_name(prefix, name)
    except ValueError as problem:
        raise BadDrop(
            "invalid_request", f"request.json: {field} is {text.redact(name)[:80]!r}; it {problem}"
        ) from problem
