"""`python -m kontext_local.segmind`: the emulator alone, for any client of the Segmind API."""

from __future__ import annotations

import argparse
import json
import sys

from kontext_local import private
from kontext_local.errors import LocalCloudError
from kontext_local.segmind import inference
from kontext_local.segmind.picture import PIXELS
from kontext_local.segmind.server import serve
from kontext_local.segmind.settings import Settings


def main() -> int:
    """Serve until Ctrl-C; 1 if that is impossible, saying why."""
    options = _parser().parse_args()
    try:
        serve(
            options.port,
            _settings(options),
            seed=options.seed,
            pixels=options.pixels,
            announce=_announce_to_parent if options.child else _announce,
            stop_with_parent=options.child,
        )
    except KeyboardInterrupt:
        return 0
    except (LocalCloudError, ValueError) as error:
        print(json.dumps({"error": str(error)}) if options.child else f"error: {error}", flush=True)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    plain = Settings()
    parser = argparse.ArgumentParser(prog="kontext segmind", description="An emulator of the Segmind API.")
    add = parser.add_argument
    add("--port", type=int, default=0, help="loopback port to listen on (default: a free one)")
    add(
        "--inference",
        type=float,
        default=inference.MEAN_SECONDS,
        help="mean seconds a picture takes (default: %(default)s)",
    )
    add(
        "--cv",
        type=float,
        default=0.2,
        help="spread of these seconds over their mean, 0 is none (default: %(default)s)",
    )
    add("--workers", type=int, default=plain.workers, help="jobs at a time (default: %(default)s)")
    add(
        "--rate-limit",
        type=int,
        default=plain.rate_limit,
        help="POSTs a minute, 0 is no limit (default: %(default)s)",
    )
    add("--credits", type=float, default=plain.credits, help="balance in USD (default: %(default)s)")
    add("--price", type=float, default=plain.price, help="USD a picture (default: %(default)s)")
    add("--api-key", help="the accepted key (default: a new one)")
    add("--seed", type=int, help="makes ids, times and the key repeatable")
    add("--pixels", type=int, default=PIXELS, help="area of the pictures (default: %(default)s)")
    add("--settings", type=json.loads, default={}, help="any other setting, as a JSON object")
    add(
        "--child",
        action="store_true",
        help="read more settings from the first line of standard input, announce in "
        "JSON, and end with the end of standard input",
    )
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    given = {
        "inference": inference.parse(options.inference, options.cv),
        "workers": options.workers,
        "rate_limit": options.rate_limit or None,
        "credits": options.credits,
        "price": options.price,
        "keys": (options.api_key,) if options.api_key else (),
    }
    # Keys may be among them, and arguments can be read by everybody.
    handed_over = private.handed_over() if options.child else {}
    return Settings().changed({**given, **options.settings, **handed_over})


def _announce(url: str, api_key: str) -> None:
    print(f"Segmind emulator at {url}\nAPI key {api_key}\nCtrl-C ends it.", flush=True)


def _announce_to_parent(url: str, api_key: str) -> None:
    print(json.dumps({"url": url, "api_key": api_key}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
