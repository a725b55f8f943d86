"""A function that tries what Lambda does not allow."""

import socket
import sys
import time
from pathlib import Path
from typing import Any


def handler(event: Any, context: Any) -> Any:
    match event:
        case {"write": path}:
            Path(path).write_text("something")
        case {"connect": host}:
            socket.create_connection((host, 443), timeout=3).close()
        case {"sleep": seconds}:
            time.sleep(seconds)
        case {"hold": megabytes}:
            return len(b"x" * (megabytes * 1_000_000))
        case {"import": name}:
            return str(__import__(name).__file__)
        case "path":
            return sys.path
    return context.get_remaining_time_in_millis()
