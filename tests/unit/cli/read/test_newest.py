"""What the page keeps of what it has read, and what it reads again."""

from __future__ import annotations

from kontext.due import WAITING
from kontext.throttle.admission import State
from kontext_cli.read.newest import LANES, Newest
from kontext_cli.read.views import view_of
from simulation.dynamodb import DynamoDB


def test_the_next_part_of_a_pair_that_waits_is_seen_though_it_moves_nothing_in_the_index() -> None:
    table = DynamoDB().table()
    newest = Newest(table, lambda items: view_of(items, State()))
    key, at = {"pk": "pair#harbour/", "sk": "pair"}, 1_800_000_000.0
    image = {"key": "harbour/1.png", "sequencer": "1", "at": at}
    waits = "SET #prefix = :prefix, #part_2 = :part, #due_lane = :lane, #due_at = :at"
    table.update(key, waits, prefix="harbour/", part=image | {"key": "harbour/2.png"}, lane=WAITING, at=at)

    def missing() -> str:
        (pair,) = newest.listing(5, lambda _: True, LANES, "", None).pairs
        return pair.missing[0].partition(":")[0]

    before = missing()
    table.update(key, "SET #part_1 = :part", part=image)

    assert (before, missing()) == ("image 1", "a prompt")
