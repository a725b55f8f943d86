"""What is known of a picture, how large one may be, and the ways in which one is refused."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


class BadPicture(ValueError):
    """It cannot be used; the message begins with "it" and says why, and where something helps, what."""


class CutOff(BadPicture):
    """The file ends before its picture does."""


class CorruptImage(BadPicture):
    """The bytes are not those of a picture of its kind."""

    def __init__(self, why: str) -> None:
        super().__init__(f"it is damaged: {why}")


class TooLarge(BadPicture):
    """It has more bytes or pixels than are allowed."""


@dataclass(frozen=True)
class Image:
    """An image's kind (`png`, `jpeg` or `webp`) and its size in pixels."""

    kind: str
    width: int
    height: int

    @property
    def megapixels(self) -> float:
        """Its area in millions of pixels."""
        return self.width * self.height / 1e6


@dataclass(frozen=True)
class Limits:
    """The largest picture that is taken, in millions of bytes and of pixels, and whether one that is `animated` is."""

    megabytes: float = 50
    megapixels: float = 100
    animated: bool = False

    def check_bytes(self, size: int) -> None:
        """Raises TooLarge for a file of more bytes."""
        if size > self.megabytes * 1e6:
            raise TooLarge(f"it has {size / 1e6:.1f} megabytes; at most {self.megabytes:g} are allowed")

    def counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same chunks. Raises TooLarge when there are more bytes."""
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if size > self.megabytes * 1e6:
                raise TooLarge(f"it has more than {self.megabytes:g} megabytes, which are allowed")
            yield chunk

    def check_animated(self) -> None:
        """Raises BadPicture for an animated picture where a still one is needed."""
        if not self.animated:
            raise BadPicture("it is animated; a still picture is needed")

    def checked(self, image: Image) -> Image:
        """The image. Raises CorruptImage for one without pixels, TooLarge for one of more pixels."""
        if not image.width * image.height:
            raise CorruptImage("its size is zero")
        if image.megapixels > self.megapixels:
            has = f"it has {image.width} x {image.height} pixels, {image.megapixels:.1f} million pixels"
            raise TooLarge(f"{has}; at most {self.megapixels:g} million are allowed")
        return image


UNLIMITED = Limits(math.inf, math.inf)
