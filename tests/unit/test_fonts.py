"""Text on pictures."""

from __future__ import annotations

import pytest
from PIL.ImageFont import FreeTypeFont

from kontext_local import fonts
from kontext_local.fonts import drawable, own_font, typeface, wrapped


def test_without_a_font_that_has_them_accents_go_and_the_rest_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "FONTS", ("there is no such font.ttf",))

    assert drawable("“Ein Café · ☕”", typeface()) == "“Ein Cafe · ”"


@pytest.mark.parametrize(
    ("text", "count", "cut"),
    [
        pytest.param("", 0, False, id="nothing"),
        pytest.param("a cat", 1, False, id="short"),
        pytest.param("word " * 12, 2, False, id="two lines"),
        pytest.param("word " * 5000, 2, True, id="too long"),
        pytest.param("x" * 500, 1, True, id="one word that is too long"),
    ],
)
def test_lines_fit_and_what_does_not_ends_in_an_ellipsis(text: str, count: int, cut: bool) -> None:
    font = own_font(20)

    lines = wrapped(text, font, 400, most=2)

    assert len(lines) == count
    assert all(font.getlength(line) <= 400 for line in lines)
    assert any(line.endswith("…") for line in lines) == cut


def test_accents_are_drawn_where_the_machine_has_a_font_for_them() -> None:
    face = typeface()
    theirs, own = face(24), own_font(24)
    assert isinstance(theirs, FreeTypeFont)
    assert isinstance(own, FreeTypeFont)

    assert (drawable("café × plain", face) == "café × plain") == (theirs.getname() != own.getname())


def test_a_size_is_readable_without_a_font_that_has_the_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "FONTS", ())

    assert drawable("1024 × 768", typeface()) == "1024 x 768"
