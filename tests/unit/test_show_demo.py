"""What the README shows of the demo is what the demo said."""

from __future__ import annotations

from scripts.show_demo import SHOWN, excerpt

PRINTED = """kontext-drop: two pairs of photographs through the whole stack, on this machine

   0.3 s  starting the embedded cloud (MiniStack)
   5.6 s  the stack is up; a queue subscribes to its topic, as an app's backend would

seconds since each pair's own drop:
  0.21 s  astronaut  dropped: astronaut.png, grace_hopper.jpg and “The two women.”
  0.25 s  chelsea    dropped: chelsea.png, coffee.png and “The cat.”
 18.57 s  astronaut  event received: kontext.rendered
 18.84 s  chelsea    event received: kontext.rendered

The event of the first pair, as a queue that subscribes to the topic received it:
{
  "specversion": "1.0"
}

kontext-demo.png shows each pair beside its result.
"""


def test_the_start_of_the_stack_and_the_way_of_one_pair_are_shown_word_for_word() -> None:
    shown = excerpt(PRINTED).splitlines()

    said = [line for line in shown if line not in ("```", "$ make demo", "…")]
    assert said == [line for line in PRINTED.splitlines()[2:10] if "astronaut" not in line]


def test_only_what_stands_between_the_marks_is_written_anew() -> None:
    page = "before\n<!-- generated: demo -->\nold\n<!-- end -->\nafter <!-- end -->\n"

    assert SHOWN.sub("new\n", page) == "before\n<!-- generated: demo -->\nnew\n<!-- end -->\nafter <!-- end -->\n"
