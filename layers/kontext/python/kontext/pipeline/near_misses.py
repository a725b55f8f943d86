"""Before the default prompt is paid: does what was meant as the prompt lie beside the pair, under another name?"""

from collections.abc import Iterable

from kontext import text
from kontext.connections import Connections
from kontext.drops import keys, near_misses, pairs

_LOOKS_THE_SAME = "whose name looks the same and has its accents written in another way (Unicode NFC and NFD)"


class NearMisses:
    """Looks for what was probably meant."""

    def __init__(self, deps: Connections) -> None:
        self.deps = deps

    def prompt_beside(self, pair: pairs.Pair) -> pairs.Rejected | None:
        """What is to be told of a prompt that lies beside a pair without one, and that no other pair uses. Taking it
        away mends that, too."""
        found = {key for start in near_misses.places(pair.prefix) for key in self.deps.inputs.keys_under(start)}
        beside = (key for key in sorted(found) if near_misses.looks_like_a_prompt(key, pair.prefix))
        for key in beside:
            part = keys.parse(key)
            is_meant = part is None or (part.prefix != pair.prefix and not self._is_used(part.prefix))
            if is_meant and (there := self.deps.inputs.newest(key)):
                return pairs.Rejected("near_miss", self._told(pair, key, part), wanted={key: there[1]})
        return None

    def half_beside(self, pair: pairs.Pair) -> str | None:
        """What is to be told of a pair whose other half has a name that only looks the same."""
        for twin in near_misses.twins(pair.prefix):
            other = self.deps.drops.get(twin)
            slots = set(other.parts) if other else set()
            missing = {"1", "2"} - set(pair.parts)
            if missing and missing <= slots and not {"1", "2"} <= slots:
                half = text.escape_line(f"{twin}{min(missing)}")
                return f"{half} is there, {_LOOKS_THE_SAME}: upload both images with the same tool, or without accents"
        return None

    def named_beside(self, wanted: Iterable[str]) -> str | None:
        """What is to be told of an image that a request names under a name that people take for its own."""
        for key in wanted:
            found = {one for start in near_misses.starts_alike(key) for one in self.deps.inputs.keys_under(start)}
            for one in sorted(found - {key}):
                if near_misses.alike(one) == near_misses.alike(key):
                    name, asked = text.escape_line(one), text.escape_line(key)
                    return f"{name} is there, and request.json names {asked}: give both the same name, letter by letter"
        return None

    def _is_used(self, prefix: str) -> bool:
        """Whether there is a pair that such a prompt belongs to, or the beginning of one."""
        if any(self.deps.inputs.keys_under(f"{prefix}{slot}.") for slot in "12"):
            return True
        pair = self.deps.drops.get(prefix)
        return pair is not None and pairs.names_images(pair)

    def _told(self, pair: pairs.Pair, key: str, part: keys.Part | None) -> str:
        name, prefix = text.escape_line(key), text.escape_line(pair.prefix)
        if part and part.prefix in near_misses.twins(pair.prefix):
            return f"{name} is there, {_LOOKS_THE_SAME}"
        called = key[len(keys.folder_of(pair.prefix)) :].lower()
        is_request = "prompt" not in called and ("request" in called or called.endswith(".json"))
        usual = "request.json" if is_request else "prompt.txt"
        return f"{name} is there, and belongs to no pair; if it is meant for this one, name it {prefix}{usual}"
