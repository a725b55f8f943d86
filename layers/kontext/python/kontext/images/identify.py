"""What a file is by its first bytes, and how to make a picture of what is none. Names and content types only claim."""

import re
from dataclasses import dataclass

HEAD_BYTES = 4_096

_EXPORT = "export it as JPEG or PNG"
_DEVELOP = "develop it in the camera's software and export it as JPEG"
_IPHONE = "export it as JPEG; with Settings > Camera > Formats > Most Compatible an iPhone takes JPEGs"
_UNPACK = "unpack it and drop the pictures in it"
_SIDE_FILE = "it holds what a Mac knows of the picture, which is the file whose name does not begin with '._'"


@dataclass(frozen=True)
class _Format:
    """A kind of file that is no picture for Segmind; `head` is matched by its first bytes."""

    name: str
    advice: str
    head: re.Pattern[bytes]
    is_picture: bool = True
    """Also moving ones: what phones and editors put behind a picture."""


def _format(name: str, advice: str, head: bytes, *, is_picture: bool = True) -> _Format:
    return _Format(name, advice, re.compile(head, re.DOTALL), is_picture)


# ISO's base format: the first of its brands that is known says what it is. AVIF is told first: it also claims HEIF's.
_BRAND = rb".{4}ftyp(?:.{4}){0,12}?(?:%s)"

_FORMATS = (
    _format("a GIF", _EXPORT, rb"GIF8"),
    _format("a BMP", _EXPORT, rb"BM.{4}\0{4}"),
    _format("a DNG, a camera's RAW file", _DEVELOP, rb"II\*\0.{,3000}\x12\xc6\x01\0|MM\0\*.{,3000}\xc6\x12\0\x01"),
    _format("a CR2, a camera's RAW file", _DEVELOP, rb"II\*\0.{4}CR"),
    _format("a CR3, a camera's RAW file", _DEVELOP, _BRAND % rb"crx "),
    _format("a camera's RAW file", _DEVELOP, rb"FUJIFILMCCD-RAW|IIR[OS]|MMOR|IIU\0|FOVb|\0MRM"),
    _format("a TIFF or a camera's RAW file", _EXPORT, rb"II[*+]\0|MM\0[*+]"),
    _format("an AVIF", _EXPORT, _BRAND % rb"avi[fs]"),
    _format("a HEIC", _IPHONE, _BRAND % rb"hei[cxms]|hev[cxms]|mif[12]|msf1"),
    _format("a video", "export one frame of it as JPEG or PNG", rb".{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI "),
    _format("a JPEG XL", _EXPORT, rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"),
    _format("a JPEG 2000", _EXPORT, rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
    _format("a JPEG XR", _EXPORT, rb"II\xbc\x01"),
    _format("a Photoshop file", _EXPORT, rb"8BPS"),
    _format("an icon", _EXPORT, rb"\0\0[\x01\x02]\0[\x01-\x40]\0"),
    _format(
        "a PNG that was copied as text",
        "copy it again, as binary",
        rb"\x89PNG(?!\r\n\x1a\n)|.{0,2}PNG\r?\n\x1a\r?\n|\xef\xbf\xbdPNG",
    ),
    _format("a Mac's side file (AppleDouble)", _SIDE_FILE, rb"\0\x05\x16[\0\x07]\0[\x01\x02]\0\0"),
    _format("an SVG drawing", _EXPORT, rb"(?:\xef\xbb\xbf)?\s*<(?:.{,4000}<)?(?i:svg)[\s/>]", is_picture=False),
    _format(
        "a web page or other markup",
        "open the link in a browser and save the picture itself",
        rb"(?:\xef\xbb\xbf)?\s*<(?!!--)[A-Za-z!?][ -~\s]{3}",
        is_picture=False,
    ),
    _format("a PDF", _EXPORT, rb"%PDF-", is_picture=False),
    _format("a PostScript file", _EXPORT, rb"%!PS|\xc5\xd0\xd3\xc6", is_picture=False),
    _format(
        "an archive",
        _UNPACK,
        rb"PK(?:\x03\x04|\x05\x06|\x07\x08)|Rar!\x1a\x07|7z\xbc\xaf\x27\x1c|\x1f\x8b\x08|BZh[1-9]|\xfd7zXZ\0|\x28\xb5\x2f\xfd|MSCF\0"
        rb"|!<arch>\n|.{257}ustar|LZIP|\x04\x22\x4d\x18|xar!|.{2}-lh[0-9]-",
        is_picture=False,
    ),
    _format(
        "a program",
        "drop a picture",
        rb"\x7fELF|MZ.{58}|\xfe\xed\xfa[\xce\xcf]|[\xce\xcf]\xfa\xed\xfe|\xca\xfe\xba\xbe|#!\s*/|\0asm|dex\n|<\?php"
        rb"|\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1|L\0\0\0\x01\x14\x02\0|{\\rtf",
        is_picture=False,
    ),
)
_KINDS = (("png", rb"\x89PNG\r\n\x1a\n"), ("jpeg", rb"\xff\xd8\xff"), ("webp", rb"RIFF.{4}WEBP"))
_STARTS = tuple((kind, re.compile(head, re.DOTALL)) for kind, head in _KINDS)


def kind_of(head: bytes) -> str | None:
    """The kind that the first twelve bytes claim; None for whatever is not a picture that is dealt with here."""
    return next((kind for kind, start in _STARTS if start.match(head)), None)


def refusal(head: bytes) -> str:
    """Why a file that begins so is none of them, and what to do."""
    if not head:
        return "it is empty (0 bytes)"
    found = _format_of(head)
    name, advice = (f"{found.name}, ", f"; {found.advice}") if found else ("", "")
    return f"it is {name}not a PNG, JPEG or WebP image{advice}"


def as_no_picture(head: bytes) -> str | None:
    """What an archive, a document, a web page or a program is that begins so; None for all else."""
    found = _format_of(head)
    return None if found is None or found.is_picture else found.name


def _format_of(head: bytes) -> _Format | None:
    return next((one for one in _FORMATS if one.head.match(head[:HEAD_BYTES])), None)
