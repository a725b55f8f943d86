"""What can go wrong with the local cloud, in words for the person who started it."""

from __future__ import annotations


class LocalCloudError(Exception):
    """The local cloud cannot do what was asked; the message says what and what to do about it."""
