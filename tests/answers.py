"""Answers as models of the DeepSeek-OCR kind write them, after the published format: fixtures, and generated ones."""

from __future__ import annotations

import random

DOCUMENT = """<|ref|>title<|/ref|><|det|>[[200, 100, 800, 130]]<|/det|>
# Annual Report  

<|ref|>text<|/ref|><|det|>[[100, 150, 900, 200]]<|/det|>
The harbour office counted \\(1{,}204\\) ships.
It closed at noon.  

<|ref|>sub_title<|/ref|><|det|>[[100, 220, 400, 240]]<|/det|>
## 1. Tonnage  

<|ref|>image<|/ref|><|det|>[[100, 250, 900, 500]]<|/det|>
<|ref|>image_caption<|/ref|><|det|>[[100, 510, 900, 530]]<|/det|>
<center>Figure 1 | Ships by month </center>  

<|ref|>table<|/ref|><|det|>[[100, 550, 900, 700]]<|/det|>
<table><tr><td>Month</td><td>Ships</td></tr><tr><td>May</td><td>&lt; 90</td></tr><tr><td>June</td><td>1,114</td></tr></table>

<|ref|>equation<|/ref|><|det|>[[300, 720, 700, 760]]<|/det|>
\\[
m = \\sum_{i=1}^{n} m_i
\\]

<|ref|>text<|/ref|><|det|>[[100, 780, 900, 820]]<|/det|>
- barges
- tugs

<|ref|>page_number<|/ref|><|det|>[[450, 950, 550, 970]]<|/det|>
Page 4 of 6"""  # noqa: W291, E501 - as the models do

UNLIMITED = (
    "<PAGE><|det|>header [100, 10, 900, 40]<|/det|>CITY MAGAZINE\n"
    "<|det|>title [100, 100, 500, 120]<|/det|>Free Speech\n"
    "<|det|>text [100, 130, 900, 200]<|/det|>It was a cold day.\n<|det|>image [100, 210, 900, 500]<|/det|>\n"
    "<|det|>image_caption [100, 510, 900, 530]<|/det|>A cold day\n"
    "<|det|>table [100, 540, 900, 700]<|/det|><table><tr><td>a</td><td>b</td></tr></table>\n"
    "<|det|>formula [100, 710, 900, 760]<|/det|>x^2"
)

Layout = list[tuple[str, str, tuple[int, int, int, int]]]
LABELS = {"title": "heading", "sub_title": "heading", "text": "paragraph", "image": "figure", "table": "table",
          "equation": "formula", "list": "list", "footer": "other", "image_caption": "paragraph"}  # fmt: skip
WORDS = [
    "harbour",
    "ship",
    "noon",
    "Zürich",
    "東京",
    "12,5",
    "naïve",
    "(north)",
    "rope;",
    "tide:",
    "&",
    "<",
    ">",
    "50%",
]


def written(rng: random.Random) -> tuple[Layout, str]:
    """A random layout (kind, text, box on a page of 1998 x 2997 pixels) and the answer that a model would give."""
    layout: Layout = []
    parts = []
    for _ in range(rng.randint(1, 12)):
        label = rng.choice(list(LABELS))
        x1, x2 = sorted(rng.sample(range(1000), 2))
        y1, y2 = sorted(rng.sample(range(1000), 2))
        text, body = _content(rng, label)
        layout.append((LABELS[label], text, (2 * x1, 3 * y1, 2 * x2, 3 * y2)))
        if rng.random() < 0.5:
            parts.append(f"<|ref|>{label}<|/ref|><|det|>[[{x1}, {y1}, {x2}, {y2}]]<|/det|>\n{body}  \n\n")
        else:
            parts.append(f"<|det|>{label} [{x1}, {y1}, {x2}, {y2}]<|/det|>{body}\n")
    return layout, "".join(parts)


def _content(rng: random.Random, label: str) -> tuple[str, str]:
    """The text of a block, and how it is answered."""

    def words() -> str:
        return " ".join(rng.choices(WORDS, k=rng.randint(1, 8)))

    if label == "image":
        return "", ""
    if label in ("title", "sub_title"):
        text = words()
        return text, f"{'#' * rng.randint(1, 3)} {text}"
    if label == "image_caption":
        text = words()
        return text, f"<center>{text} </center>"
    if label == "equation":
        text = rf"\[ {rng.choice('xyz')}_{rng.randint(1, 9)} < \frac{{a}}{{b}} \]"
        return text, text
    if label == "list":
        text = "\n".join(f"- {words()}" for _ in range(rng.randint(1, 5)))
        return text, text
    if label == "table":
        rows = [[words() for _ in range(rng.randint(1, 4))] for _ in range(rng.randint(1, 4))]
        escaped = [
            [cell.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for cell in row] for row in rows
        ]
        body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in escaped)
        return "\n".join("\t".join(row) for row in rows), f"<table>{body}</table>"
    text = "\n".join(words() for _ in range(rng.randint(1, 3)))
    return text, text
