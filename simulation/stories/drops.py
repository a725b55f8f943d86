"""What people drop, take back and drop again: files one after another, the same photograph by another tool, slips."""

from __future__ import annotations

from dataclasses import replace

from kontext_local.segmind.padded_file import padded
from simulation.actions import Away, Drop, RecordsExpire, image, request, vendor
from simulation.fault_injection import Fault
from simulation.schedule import Action
from simulation.stories.story import FIRST_READ_LATE, TAJ, Story, pair, story

A_DAY = 86_400.0
_MEGABYTE = 1_000_000
_REFUSES = vendor(status=400, body={"error": "no"}, times=None)

_FIRST_HELD_UP = (
    *(
        f"{kind} of submit {call}"
        for call in ("get_object", "update_item")
        for kind in ("crash before", "error", "stall", "time-out without effect")
    ),
    *("late", "throttled", "crash after of submit get_object", "time-out with effect of submit get_object"),
)
_LONG_HELD_UP = tuple(kind for kind in FIRST_READ_LATE if not kind.startswith("time-out"))

THERE_AND_BACK: list[tuple[float, Action]] = [
    *pair(),
    (100.0, request(TAJ, prompt="another")),
    (8 * A_DAY, request(TAJ, prompt="both at the Taj")),
]

FILES = {
    "1.png": image("taj/1.png"),
    "2.png": image("taj/2.png"),
    "prompt.txt": Drop("taj/prompt.txt", b"both at the Taj"),
    "request.json": request(TAJ, aspect_ratio="16:9"),
}


def synced(*names: str) -> list[tuple[float, Action]]:
    """The files of a pair, a second between each two."""
    return [(float(n), FILES[name]) for n, name in enumerate(names)]


def large(part_bytes: int, at: float = 0.0) -> list[tuple[float, Action]]:
    """A photograph of six megabytes, uploaded in parts of a size."""
    whole = b"".join(padded(image("taj/1.png").content, 6 * _MEGABYTE))
    return [(at, Drop("taj/1.png", whole, part_bytes=part_bytes))]


def encrypted(drop: Drop) -> Drop:
    return replace(drop, encryption="aws:kms")


SYNCS: tuple[Story, ...] = (
    story("one sync of four files", *synced("1.png", "2.png", "prompt.txt", "request.json")),
    story(
        "one sync of four files, an image last, and the message of the request is late",
        *synced("prompt.txt", "request.json", "1.png", "2.png"),
        faults=(Fault(1, "late"),),
    ),
    story(
        "one sync of four files, the prompt last, and the first message is throttled",
        *synced("request.json", "1.png", "2.png", "prompt.txt"),
        faults=(Fault(0, "throttled"),),
    ),
    story(
        "a prompt with the image, and a request for the format",
        (0.0, image("taj/1.png", prompt="both at the Taj")),
        (0.1, image("taj/2.png")),
        (0.5, request(TAJ, output_format="jpg")),
    ),
    story(
        "both images are exchanged",
        *pair(),
        (200.0, image("taj/1.png", "another")),
        (206.0, image("taj/2.png", "another")),
        fragile=dict.fromkeys(_LONG_HELD_UP, "an image whose first message comes after its second was not replaced"),
    ),
    story(
        "both images are exchanged while the first picture is made",
        *pair(),
        (10.0, image("taj/1.png", "another")),
        (12.0, image("taj/2.png", "another")),
        fragile=dict.fromkeys(_FIRST_HELD_UP, "an image whose first message comes after its second was not replaced"),
    ),
    story("another prompt, and the first one again after eight days", *THERE_AND_BACK),
    story(
        "another prompt, and the first one again after eight days, as the bucket is away",
        *THERE_AND_BACK,
        (8 * A_DAY + 3.28, Away(("s3",), 60.0)),
        patience=3600.0,
    ),
    story(
        "a prompt file whose name is in capitals, and whose message is late",
        (0.0, image("taj/1.png")),
        (0.1, image("taj/2.png")),
        (0.2, Drop("taj/Prompt.TXT", b"both at the Taj")),
        faults=(Fault(2, "late"),),
    ),
)

SLIPS: tuple[Story, ...] = (
    story(
        "files of the operating system lie beside a pair",
        (-2.0, Drop("taj/.DS_Store", b"Bud1")),
        (-1.0, Drop("taj/._1.png", b"AppleDouble")),
        (-0.5, Drop("taj/._2.png", b"AppleDouble")),
        *pair(),
        (1.0, Drop("taj/Thumbs.db", b"thumbs")),
        end="DELIVERED",
    ),
    story(
        "a request whose extension Windows hides",
        *pair()[:2],
        (0.2, replace(request(TAJ, prompt="both at the Taj"), key="taj/request.json.txt")),
        end="DELIVERED",
    ),
    story(
        "a prompt lies beside a pair under a copy's name, and then under its own",
        (0.0, Drop("taj/prompt (1).txt", b"both at the Taj")),
        *pair(at=1.0)[:2],
        (100.0, Drop("taj/prompt.txt", b"both at the Taj")),
        end="DELIVERED",
    ),
    story(
        "a request lies beside a pair with a word before it",
        (0.0, Drop("taj request.json", b"{}")),
        *pair(at=1.0)[:2],
        end="FAILED near_miss",
    ),
    story(
        "the halves of a pair are spelt in two ways",
        (0.0, image("caf\u00e9/1.png", prompt="both")),
        (1.0, image("cafe\u0301/2.png")),
        # It is told of the half whose message comes last.
        ends={prefix: {"FAILED near_miss", "INCOMPLETE"} for prefix in ("caf\u00e9/", "cafe\u0301/")},
    ),
    story("an empty prompt file comes after the picture", *pair(), (200.0, Drop("taj/prompt.txt", b""))),
)

SAME_BYTES: tuple[Story, ...] = (
    story(
        "the same photograph again, in parts",
        *pair(),
        (100.0, replace(image("taj/1.png"), part_bytes=5 * _MEGABYTE)),
    ),
    story(
        "the same photograph again, in larger parts",
        *large(5 * _MEGABYTE),
        *pair()[1:],
        *large(8 * _MEGABYTE, at=100.0),
    ),
    story("a photograph in parts", *large(5 * _MEGABYTE), *pair()[1:]),
    story(
        "the same photographs again, under a key of KMS",
        *[(at, encrypted(drop)) for at, drop in pair()],
        (100.0, encrypted(image("taj/1.png"))),
    ),
    story(
        "the same photograph again by another tool, while the first picture is made",
        *pair(),
        (10.0, encrypted(image("taj/2.png"))),
    ),
)

TOLD_ONCE: tuple[Story, ...] = (
    story(
        "a request with a mistake comes before its images",
        (0.0, request(TAJ, prompt=7)),
        (1.0, image("taj/1.png")),
        (2.0, image("taj/2.png")),
    ),
    story(
        "a wrong image comes first",
        (0.0, Drop("taj/1.png", b"text")),
        (1.0, image("taj/2.png")),
        (2.0, request(TAJ, prompt="x")),
    ),
    story(
        "a pair that was refused is dropped again as it is",
        (0.0, _REFUSES),
        *pair(),
        *[(100.0 + 2 * n, drop) for n, (_, drop) in enumerate(pair())],
        end="FAILED refused",
    ),
)

FORGOTTEN: tuple[Story, ...] = (
    story(
        "the same pair after its record has expired",
        *pair(),
        (9 * A_DAY, RecordsExpire()),
        *pair(at=10 * A_DAY),
        parameters={"RecordRetentionDays": "8"},
        missing="an execution's name does not say whose it is, and is taken for 90 days",
    ),
    story(
        "the same pair after its record and its execution's name have expired",
        *pair(),
        (9 * A_DAY, RecordsExpire()),
        *pair(at=100 * A_DAY),
        parameters={"RecordRetentionDays": "8"},
        missing="a render that is paid anew is told under the id of the old one",
    ),
    story(
        "changed after its record has expired",
        *pair(),
        (9 * A_DAY, RecordsExpire()),
        (10 * A_DAY, request(TAJ, prompt="another")),
        parameters={"RecordRetentionDays": "8"},
    ),
    story(
        "a pair that was refused comes again after its record has expired",
        (0.0, vendor(status=400, body={"error": "no"})),
        *pair(),
        (9 * A_DAY, RecordsExpire()),
        (10 * A_DAY, image("taj/1.png")),
        parameters={"RecordRetentionDays": "8"},
    ),
)

DROPS: tuple[Story, ...] = (*SYNCS, *SLIPS, *SAME_BYTES, *TOLD_ONCE, *FORGOTTEN)
