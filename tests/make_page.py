"""Makes `workers/samples/page.png` and the text on it, for `model check --smoke`: python -m tests.make_page

A plain A4 page at 150 dpi, clean, with nothing that may be written in more than one way: no table, no formula, no list.
"""

from __future__ import annotations

import textwrap

from PIL import Image, ImageDraw, ImageFont

from tests.make_sample import FOLDER, FONTS

SIZE = (1240, 1754)
HEADING = "The lighthouse at Penmarrow"
PARAGRAPHS = """\
The lighthouse at Penmarrow was built in 1847 from granite that came by sea. Its tower is thirty-one metres high and \
stands on a rock that can be reached on foot for about two hours a day, when the tide is out.

For the first forty years the lamp burned colza oil and had to be trimmed every four hours. The keepers wrote the \
time of each trimming into a book, and below it the wind, the state of the sea and the names of the ships that passed. \
Eleven of these books are left; the others were lost when the store room was flooded in March 1903.

Electric light came late. The cable from the mainland was laid in 1956, and the last keeper, Ada Trewin, left the \
rock nine years later. She had served there for twenty-three years and knew the sound of every ship on the coast.

Today the lamp is watched from the harbour office, eighteen kilometres away. Twice a year a boat brings two mechanics, \
who clean the lens, change the batteries and read the counter: by the end of last year the light had turned more \
than two hundred million times.
"""


def main() -> None:
    page = Image.new("L", SIZE, 255)
    draw = ImageDraw.Draw(page)
    draw.text((120, 140), HEADING, 0, ImageFont.truetype(FONTS / "DejaVuSerif-Bold.ttf", 38))
    top, lines = 250, [HEADING, ""]
    for paragraph in PARAGRAPHS.strip().split("\n\n"):
        for line in textwrap.wrap(paragraph, 76):
            draw.text((120, top), line, 0, ImageFont.truetype(FONTS / "DejaVuSerif.ttf", 24))
            lines.append(line)
            top += 38
        lines.append("")
        top += 24
    page.save(FOLDER / "page.png", optimize=True)
    (FOLDER / "page.txt").write_text("\n".join(lines).strip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
