"""Makes `workers/samples/small.png` and the text on it out of `small.html`, with Chromium: python -m tests.make_small

For `demo` where there is no Chromium, and for `model check --smoke` of a model that sees little of a page at once.
"""

from __future__ import annotations

from ocr_tasks.rendering import parse_render_options
from tests.browser.conftest import LIMITS
from tests.make_sample import FOLDER
from workers.demo_tokens import VIEW
from workers.sources.browser import Browser, Html


def main() -> None:
    html = (FOLDER / "small.html").read_text(encoding="utf-8")
    with Browser(LIMITS) as browser:
        harvest = browser.render(Html(html), parse_render_options(VIEW))
    lines = [line.strip() for line in harvest.text.splitlines() if line.strip()]
    (FOLDER / "small.png").write_bytes(harvest.image)
    (FOLDER / "small.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
