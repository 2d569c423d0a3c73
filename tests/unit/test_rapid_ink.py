"""Rules and pictures, found on pages drawn without a word read."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from workers.engine.rapid_ink import find_pictures, find_rules
from workers.engine.rapid_models import Pixels

EM = 24.0


def pixels(image: Image.Image) -> Pixels:
    return np.ascontiguousarray(np.asarray(image)[:, :, ::-1])


def test_a_rule_close_under_letters_is_found() -> None:
    image = Image.new("RGB", (1200, 300), "white")
    pen, face = ImageDraw.Draw(image), ImageFont.load_default(30)
    for y in (60, 110, 160, 210):
        pen.line((50, y, 1150, y), fill="black")
    for row, text in enumerate(("EEEEE LLLLL ZZZZZ", "EEEEE TTTTT ZZZZZ", "TTTTT LLLLL EEEEE")):
        pen.text((70, 110 + 50 * row - 8), text, font=face, fill="black", anchor="ls")
    found = [rule.at for rule in find_rules(pixels(image), EM, []).across if rule.length > 1000]
    assert all(any(abs(at - y) < 4 for at in found) for y in (60, 110, 160, 210))


def test_pictures_with_a_gutter_between_them_are_two() -> None:
    image = Image.new("RGB", (1200, 900), "white")
    shades = Image.linear_gradient("L").resize((400, 300)).convert("RGB")
    image.paste(shades, (150, 200))
    image.paste(shades, (590, 260))
    boxes = sorted(find_pictures(pixels(image), EM, []), key=lambda box: box.x1)
    assert [box.x1 for box in boxes] == pytest.approx([150, 590], abs=EM)


def shaded() -> Image.Image:
    """A picture of dark shades, none of which is like paper."""
    return Image.linear_gradient("L").resize((400, 300)).point(lambda shade: shade * 0.6).convert("RGB")


def test_a_picture_under_a_plain_bar_is_found_without_it() -> None:
    image = Image.new("RGB", (1200, 900), "white")
    ImageDraw.Draw(image).rectangle((0, 0, 1200, 120), fill="#1d2733")
    image.paste(shaded(), (150, 170))
    (box,) = find_pictures(pixels(image), EM, [])
    assert (box.x1, box.y1, box.x2, box.y2) == pytest.approx((150, 170, 550, 470), abs=EM)


def test_a_picture_is_found_on_a_page_of_two_papers() -> None:
    image = Image.new("RGB", (1200, 900), "#fffdf8")
    ImageDraw.Draw(image).rectangle((0, 420, 1200, 900), fill="#f3ede0")
    image.paste(shaded().rotate(180), (150, 60))
    (box,) = find_pictures(pixels(image), EM, [])
    assert (box.x1, box.y1, box.x2, box.y2) == pytest.approx((150, 60, 550, 360), abs=2 * EM)


def test_pictures_that_are_not_on_one_height_are_boxed_each_by_itself() -> None:
    image = Image.new("RGB", (1200, 900), "white")
    shades = shaded()
    image.paste(shades, (150, 100))
    image.paste(shades, (590, 360))
    boxes = sorted(find_pictures(pixels(image), EM, []), key=lambda box: box.x1)
    assert [(box.y1, box.y2) for box in boxes] == [pytest.approx(at, abs=EM) for at in ((100, 400), (360, 660))]
