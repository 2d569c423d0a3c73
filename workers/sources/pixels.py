"""Pixels of any kind as a page: L or RGB, eight bits, no transparency."""

from __future__ import annotations

import math

from PIL import ExifTags, Image

PHOTOMETRIC_INTERPRETATION = 262  # TIFF tag; 0: black is the highest value

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation(frame: Image.Image) -> Image.Transpose | None:
    """How a loaded frame must be turned to stand upright (EXIF); a damaged EXIF block says nothing."""
    try:
        return TURNS.get(frame.getexif().get(ExifTags.Base.Orientation, 1))
    except (ValueError, TypeError, LookupError, SyntaxError, OSError, ArithmeticError, AttributeError):
        return None


def as_page(frame: Image.Image) -> Image.Image:
    """A loaded frame as L or RGB: deep pixels scaled, transparency over white, profiles ignored."""
    if frame.mode in ("L", "RGB") and not frame.has_transparency_data:
        return frame
    if frame.mode.startswith("I") or frame.mode == "F":
        return _eight_bits(frame)
    if frame.has_transparency_data:
        return _over_white(frame)
    if frame.mode == "LAB":
        return frame.getchannel("L")  # colour would need a profile; lightness is what is read
    return frame.convert("L" if frame.mode == "1" else "RGB")


def _over_white(frame: Image.Image) -> Image.Image:
    grey = frame.mode in ("LA", "L", "1")
    wanted = "LA" if grey else "RGBA"
    layer = frame if frame.mode == wanted else frame.convert(wanted)  # a copy of a large page is hundreds of MB
    page = Image.new("L" if grey else "RGB", frame.size, "white")
    page.paste(layer.getchannel("L") if grey else layer, mask=layer)
    return page


def _eight_bits(frame: Image.Image) -> Image.Image:
    """16-bit, 32-bit and floating-point grey as L.

    Scaled by the bits that the brightest pixel needs: scanners store 10 and 12 bits in 16.
    """
    deep = frame if frame.mode in ("I;16", "I", "F") else frame.convert("I")
    low, high = (float(bound) for bound in _extrema(deep))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("not a number among the pixels")
    if frame.mode == "F":
        white = 1.0 if high <= 1 else float(2 ** max(8, math.ceil(math.log2(high + 1))) - 1)
    else:
        white = float(2 ** max(8, int(high).bit_length()) - 1)
    page = deep.point(lambda value: value * (255 / white) + 0.5).convert("L")
    tags = getattr(frame, "tag_v2", {})
    inverted = frame.mode.startswith("I;16") and tags.get(PHOTOMETRIC_INTERPRETATION) == 0
    return page.point(lambda value: 255 - value) if inverted else page


def _extrema(deep: Image.Image) -> tuple[float, float]:
    low, high = deep.getextrema()
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    return low, high
