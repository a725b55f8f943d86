"""Requests that name objects: another pair's parts, one photograph for many; what comes, changes, is wrong, or goes."""

from __future__ import annotations

from simulation.actions import Drop, Remove, account, deploy, image, request
from simulation.fault_injection import Fault
from simulation.schedule import Action
from simulation.stories.story import FIRST_READ_LATE, TAJ, TWO_SWEEPS, Story, named, pair, story

FORT = "fort/"
_OPEN = {"SharedPrefixes": "shared/, taj/, fort/"}
_POOR = {"credits": 0.01}
_BY_ITS_RULES = "a request that is read after a deployment only is read by its rules"


def names_two(name: str, prefix: str = FORT, at: float = 0.0) -> list[tuple[float, Action]]:
    """A first image, and a request that names the second."""
    return [(at, image(f"{prefix}1.png")), (at + 0.5, request(prefix, prompt=f"both in {prefix}", input_image_2=name))]


REFERENCES: tuple[Story, ...] = (
    story(
        "a pair names another pair's second image, and the first comes first",
        *names_two("/taj/2.png"),
        (10.0, image("taj/1.png")),
        (20.0, image("taj/2.png")),
        parameters=_OPEN,
    ),
    *(
        story(
            f"a pair's image is named by another pair, and the function dies that had {what}",
            *names_two("/taj/2.png"),
            (10.0, image("taj/2.png")),
            (20.0, image("taj/1.png")),
            faults=(fault,),
            parameters=_OPEN,
        )
        for what, fault in (
            ("claimed that one", Fault(1, "crash after", "submit transact_write_items")),
            ("paid for it", Fault(0, "crash after", "POST")),
        )
    ),
    story(
        "a pair names another pair's image, and the request of that one comes first",
        *names_two("/taj/2.png"),
        *[(at, drop) for at, drop in zip((10.0, 20.0, 30.0), (one for _, one in reversed(pair())), strict=True)],
        parameters=_OPEN,
    ),
    story(
        "a pair names an image of a pair that is rendered",
        *pair(),
        *names_two("/taj/2.png", at=100.0),
        parameters=_OPEN,
    ),
    story(
        "two pairs name each other's image, and a function dies",
        (0.0, image("taj/1.png")),
        (1.0, request(TAJ, prompt="both", input_image_2="/fort/2.png")),
        (2.0, image("fort/2.png")),
        (3.0, request(FORT, prompt="both, the other way round", input_image_1="/taj/1.png")),
        faults=(Fault(12, "crash after"),),
        parameters=_OPEN,
    ),
    story(
        "a named image is replaced before a message comes a second time",
        (0.0, image("shared/a.png")),
        *named(at=1.0),
        (50.0, image("shared/a.png", "another")),
        faults=(Fault(1, "again"),),
    ),
    story(
        "a named image that is no picture is replaced",
        (0.0, Drop("shared/a.png", b"text")),
        *named(at=1.0),
        (100.0, image("shared/a.png")),
    ),
    story(
        "a named image comes, is no picture, and is replaced",
        *named(),
        (50.0, Drop("shared/a.png", b"text")),
        (100.0, image("shared/a.png")),
    ),
    story(
        "another pair's image is named, is no picture, and is replaced",
        (0.0, Drop("taj/2.png", b"text")),
        *names_two("/taj/2.png", at=1.0),
        (100.0, image("taj/2.png")),
        parameters=_OPEN,
    ),
    story(
        "a named image is replaced while its pair waits for credits",
        (0.0, image("shared/a.png")),
        *named(at=1.0),
        (30.0, image("shared/a.png", "another")),
        (110.0, account(credits=10.0)),
        account=_POOR,
        patience=TWO_SWEEPS,
    ),
    story(
        "a named image is deleted while its pair waits for credits",
        (0.0, image("shared/a.png")),
        *named(at=1.0),
        (30.0, Remove("shared/a.png")),
        (110.0, account(credits=10.0)),
        account=_POOR,
    ),
    *(
        story(
            f"a named image is deleted while its pair waits for credits, and {what}",
            (0.0, image("shared/a.png")),
            *named(at=1.0),
            (30.0, Remove("shared/a.png")),
            (110.0, account(credits=10.0)),
            (400.0, action),
            account=_POOR,
        )
        for what, action in (
            ("restored afterwards", Remove("shared/a.png", "for good")),
            ("dropped again afterwards", image("shared/a.png")),
        )
    ),
    story(
        "a request names an image whose extension is in other letters, and the image comes again under that name",
        (0.0, image("shared/a.PNG")),
        *named(at=1.0),
        (60.0, image("shared/a.png")),
    ),
    story(
        "an image comes under a name that only looks like the one that a request names",
        *named("/shared/caf\u00e9.png"),
        (30.0, image("shared/cafe\u0301.png")),
        end="FAILED near_miss",
    ),
    story(
        "a named image is hidden, and restored",
        (0.0, image("shared/a.png")),
        (1.0, Remove("shared/a.png")),
        *named(at=10.0),
        (60.0, Remove("shared/a.png", "for good")),
    ),
    story(
        "another pair's image is named, is hidden, and is restored",
        (0.0, image("taj/2.png")),
        (1.0, Remove("taj/2.png")),
        *names_two("/taj/2.png", at=10.0),
        (60.0, Remove("taj/2.png", "for good")),
        parameters=_OPEN,
    ),
    story(
        "a named image that is no picture is removed, and the older one is there",
        (0.0, image("shared/a.png")),
        (1.0, Drop("shared/a.png", b"text")),
        *named(at=10.0),
        (60.0, Remove("shared/a.png", "for good")),
    ),
    story(
        "a request names another image while its pair waits for credits, and that one never comes",
        (0.0, image("shared/a.png")),
        *named(at=1.0),
        (30.0, request(TAJ, prompt="both", input_image_1="/shared/b.png")),
        (110.0, account(credits=10.0)),
        account=_POOR,
    ),
    story(
        "a named image is replaced after its pair was rendered",
        (0.0, image("shared/a.png")),
        *named(at=1.0),
        (100.0, image("shared/a.png", "another")),
    ),
    story(
        "a named image is taken away before its pair is whole, and comes again",
        (0.0, image("shared/a.png")),
        (1.0, request(TAJ, prompt="both", input_image_1="/shared/a.png")),
        (5.0, Remove("shared/a.png")),
        (10.0, image("taj/2.png")),
        (50.0, image("shared/a.png", "another")),
    ),
    story(
        "a named image comes while it is looked for",
        *named(),
        (5.0, image("shared/a.png")),
        faults=(Fault(0, "stall", "submit transact_write_items"),),
    ),
    story(
        "a named image comes while its pair begins to wait for it",
        *named(),
        (5.0, image("shared/a.png")),
        faults=(Fault(3, "stall", "submit get_object"),),
    ),
    story(
        "a request names one image, and then another",
        *named(),
        (10.0, request(TAJ, prompt="both in taj/", input_image_1="/shared/b.png")),
        (20.0, image("shared/b.png")),
        (40.0, image("shared/a.png")),
    ),
    story(
        "a request names both images, which come in turn",
        (0.0, request(TAJ, prompt="both", input_image_1="/shared/a.png", input_image_2="any.png")),
        (10.0, image("taj/any.png")),
        (20.0, image("shared/a.png")),
    ),
    story(
        "a pair's own image is named as its other one",
        (0.0, image("taj/1.png")),
        (0.5, request(TAJ, prompt="twice the same", input_image_2="1.png")),
    ),
)

WHOSE: tuple[Story, ...] = (
    story("a request names an image of another's folder", *pair(), *names_two("/taj/2.png", at=100.0)),
    story(
        "a request names an image of another's folder, and that comes later",
        *names_two("/taj/2.png"),
        *pair(at=60.0),
    ),
    story(
        "a request names a loose object of another's folder, which stays an unknown drop",
        (0.0, image("taj/secret.png")),
        *names_two("/taj/secret.png", at=10.0),
    ),
    story(
        "a request names an image of a folder whose name begins with that of its own",
        (0.0, image("taj-mahal/a.png")),
        *named("/taj-mahal/a.png", at=10.0),
    ),
    story(
        "a request that names another's image is replaced by one that names the shared one",
        (0.0, image("shared/a.png")),
        *names_two("/taj/2.png", at=10.0),
        (60.0, request(FORT, prompt="both in the fort", input_image_2="/shared/a.png")),
    ),
    story(
        "an image of another's folder is named, its folder becomes a shared one, and the request comes again",
        (0.0, image("taj/2.png")),
        *names_two("/taj/2.png", at=10.0),
        (60.0, deploy(SharedPrefixes="shared/,taj/")),
        (120.0, request(FORT, prompt="both in the fort", input_image_2="/taj/2.png")),
    ),
    story(
        "everything may be named",
        (0.0, image("taj/2.png")),
        *names_two("/taj/2.png", at=10.0),
        parameters={"SharedPrefixes": "*"},
    ),
    story(
        "nothing is shared any more while a pair waits for the image that its request names",
        *named(),
        (30.0, deploy(SharedPrefixes="")),
        (100.0, image("shared/a.png")),
        fragile=dict.fromkeys(FIRST_READ_LATE, _BY_ITS_RULES),
    ),
    story(
        "nothing is shared any more while a pair with a named image waits for credits",
        (0.0, image("shared/a.png")),
        *named(at=1.0),
        (30.0, deploy(SharedPrefixes="")),
        (110.0, account(credits=10.0)),
        fragile=dict.fromkeys(FIRST_READ_LATE, _BY_ITS_RULES),
        account=_POOR,
    ),
)
