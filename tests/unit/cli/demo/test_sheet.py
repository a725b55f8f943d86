"""The contact sheet of the demo."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from kontext_cli.demo.sheet import Row, draw


def test_the_sheet_shows_all_three_pictures_of_each_pair(tmp_path: Path) -> None:
    colours = {"first": (200, 0, 0), "second": (0, 200, 0), "result": (0, 0, 200)}
    files = {name: tmp_path / f"{name}.png" for name in colours}
    for name, colour in colours.items():
        Image.new("RGB", (300, 200), colour).save(files[name])
    row = Row(files["first"], files["second"], files["result"], "A prompt that is long. " * 20, "result.png")

    with (tmp_path / "sheet.png").open("wb") as sheet:
        draw([row, row], sheet, "kontext-drop", "a note")

    with Image.open(tmp_path / "sheet.png") as drawn:
        pixels = {name: drawn.convert("RGB").get_flattened_data().count(colour) for name, colour in colours.items()}
    assert all(count > 2 * 300 * 200 for count in pixels.values()), pixels
