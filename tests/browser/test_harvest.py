"""A harvest holds what the page shows: text with its place, DOM, picture, whatever the page is made of."""

from __future__ import annotations

import io
import ipaddress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ocr_tasks.errors import InvalidOption, RenderTimeout
from tests.browser.conftest import Rendering
from tests.browser.site import Site
from tests.drawing import LATIN_FONTS, installed_fonts
from workers.demo_tokens import PAGE, PICTURE, SIDE, TEXT, VIEW
from workers.sources.browser import Harvest, TextRun
from workers.sources.cuts import blank_rows, cut_pages

RICH = """<!doctype html><html><head><title>A &amp; B</title><meta charset=utf-8><style>
  body {margin: 10px; font: 16px sans-serif} .gone {display: none} .sr {position: absolute; width: 1px; height: 1px;
  overflow: hidden} .off {position: absolute; left: -9999px} .up {text-transform: uppercase}
  .note::before {content: "Note: "} .short {width: 90px; overflow: hidden; white-space: nowrap}
  .tall {height: 1500px} .far {position: absolute; top: 1400px}</style></head><body>
  <h1>Head   line</h1><p>First <b>bold</b>er text
  <i>and</i> more<br>after a break</p><p class=gone>gone</p><span class=sr>reader</span><span class=off>off</span>
  <p class=up>upper</p><p class=note>noted</p><p style="visibility:hidden">hidden <b style="visibility:visible">seen</b>
  </p><p style="opacity:0">clear</p><div class=short>short text of which only the beginning shows</div>
  <table><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table><pre>x
  y</pre><select><option>one<option selected>two</select><input value=typed><input type=password value=secret>
  <textarea>area</textarea><button>Push</button><p dir=rtl>שלום עולם</p><p dir=rtl>مرحبا بالعالم</p>
  <p>中文文本和日本語のテキスト</p><div id=host><template shadowrootmode=open><p>in <slot></slot> shadow</p></template>
  slotted</div><iframe srcdoc="<p style='margin:20px'>inner &amp; frame" style="border:3px solid; padding:7px"></iframe>
  <div class=tall></div><p class=far>far below</p></body></html>"""


def run_of(harvest: Harvest, text: str) -> TextRun:
    found = [run for run in harvest.runs if text in run.text]
    assert len(found) == 1, f"{text!r} is in {len(found)} runs"
    return found[0]


def ink(image: Image.Image, box: tuple[int, int, int, int]) -> int:
    """How many levels lie between the darkest and the lightest pixel of a part."""
    return int(np.ptp(np.asarray(image.convert("L").crop(box))))


def opened(harvest: Harvest) -> Image.Image:
    return Image.open(io.BytesIO(harvest.image))


@pytest.mark.parametrize("scale", [1, 2])
def test_visible_text_is_where_the_picture_shows_it(scale: int, render_html: Rendering) -> None:
    harvest = render_html(RICH, deviceScaleFactor=scale)
    image = opened(harvest)
    assert image.size == (harvest.width, harvest.height)
    assert harvest.width == 800 * scale
    assert harvest.height > 1500 * scale
    for run in harvest.runs:
        left, top, right, bottom = run.box
        assert 0 <= left < right <= harvest.width
        assert 0 <= top < bottom <= harvest.height
        assert ink(image, run.box) > 60, run
    covered = np.asarray(image.convert("L")).copy()
    for left, top, right, bottom in (run.box for run in harvest.runs):
        covered[max(0, top - 4) : bottom + 4, max(0, left - 6) : right + 6] = 255
    frame = 400 * scale  # the borders of the frame, the controls and the list are no text
    assert (covered[: 60 * scale] < 128).sum() == 0, frame


def test_text_is_as_a_reader_would_write_it_down(render_html: Rendering) -> None:
    text = render_html(RICH).text
    assert text.startswith(
        "Head line\n\nFirst bolder text and more\nafter a break\n\nUPPER\n\nNote: noted\n\nseen\n\nshort text"
    )
    assert "a\tb\nc\td" in text
    assert "x\n  y" in text
    assert "two typed" in text
    assert "area" in text
    assert "Push" in text
    for seen in (
        "שלום עולם",
        "مرحبا بالعالم",
        "中文文本和日本語のテキスト",
        "in slotted shadow",
        "inner & frame",
        "far below",
    ):
        assert seen in text
    for unseen in ("gone", "reader", "off", "clear", "hidden", "secret", "beginning shows", "one"):
        assert unseen not in text.split(), unseen


def test_a_harvest_holds_the_dom_its_frames_and_its_title(render_html: Rendering) -> None:
    harvest = render_html(RICH)
    assert harvest.title == "A & B"
    assert harvest.dom.startswith("<!DOCTYPE html>\n<html><head><title>A &amp; B</title>")
    assert '<template shadowrootmode="open"><p>in <slot></slot> shadow</p></template>' in harvest.dom
    assert [frame.url for frame in harvest.frames] == ["about:srcdoc"]
    assert "inner &amp; frame" in harvest.frames[0].dom
    assert (harvest.url, harvest.final_url, harvest.status, harvest.settled) == (None, None, None, True)
    assert harvest.timings.total_ms > 0


def test_a_viewport_is_shown_alone_when_asked_for(render_html: Rendering) -> None:
    harvest = render_html(RICH, fullPage=False)
    assert (harvest.width, harvest.height, harvest.clip) == (800, 600, None)
    assert "far below" not in harvest.text
    wide = render_html("<div style='width:1500px;background:red'>wide</div>")
    assert wide.width > 1500


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp"])
def test_pictures_come_in_the_format_asked_for(format_: str, render_html: Rendering) -> None:
    harvest = render_html("<p>text", format=format_)
    assert harvest.media_type == f"image/{format_}"
    assert (opened(harvest).format or "").lower() == format_


def test_a_page_too_tall_for_webp_comes_as_png(render_html: Rendering) -> None:
    harvest = render_html("<body style='margin:0'><div style='height:17000px'>a</div><p>end", format="webp")
    assert (harvest.media_type, harvest.clip) == ("image/png", None)
    assert harvest.height > 17_000
    assert ink(opened(harvest), run_of(harvest, "end").box) > 60


def test_frames_of_other_sites_are_read_in_place(site: Site, render_url: Rendering) -> None:
    def resolve(name: str) -> list[ipaddress.IPv4Address]:
        return [ipaddress.IPv4Address("127.0.0.1")]

    site.page("/inner", "<p style='margin:50px'>from elsewhere</p><iframe src=/deep></iframe>")
    site.page("/deep", "<b>deeper</b>")
    page = f"""<!doctype html><h1>Outer</h1><iframe src='http://other.test:{site.port}/inner' width=400 height=300
      style='transform:scale(.5);transform-origin:0 0'></iframe><iframe sandbox src=/deep></iframe>"""
    harvest = render_url(site.page("/frames", page), allow=f"other.test:{site.port}", resolve=resolve)
    assert harvest.text.split() == ["Outer", "from", "elsewhere", "deeper", "deeper"]
    assert len(harvest.frames) == 3
    for run in harvest.runs:
        assert ink(opened(harvest), run.box) > 60, run
    plain = run_of(render_url(site.url("/inner")), "from elsewhere").box
    scaled = run_of(harvest, "from elsewhere").box
    assert abs((scaled[2] - scaled[0]) * 2 - (plain[2] - plain[0])) <= 4


def test_scripts_run_on_the_web_and_the_result_is_harvested(site: Site, render_url: Rendering) -> None:
    site.page("/data.json", '["loaded"]', media_type="application/json")
    page = """<!doctype html><title>x</title><div id=app></div><script>
      setTimeout(() => fetch('/data.json').then(r => r.json()).then(words => { document.title = 'made';
        document.getElementById('app').innerHTML = '<p class=done>' + words + '</p>' }), 200)</script>"""
    url = site.page("/app", page)
    for wait_for in ("networkidle", "css=.done", 600, "600"):
        harvest = render_url(url, waitFor=wait_for)
        assert (harvest.text, harvest.title, harvest.settled) == ("loaded", "made", True), wait_for
    assert render_url(url, javascript=False).text == ""
    with pytest.raises(RenderTimeout, match="never"):
        render_url(url, waitFor="css=#never", timeoutMs=1000)
    with pytest.raises(InvalidOption, match="no CSS selector"):
        render_url(url, waitFor="css=[[")


def test_redirects_are_followed_and_told(site: Site, render_url: Rendering) -> None:
    site.page("/last", "<p>last</p>")
    site.page("/second", "<meta http-equiv=refresh content='0;url=/last'>")
    url = site.page("/first", "", status=301, headers={"Location": "/second"})
    harvest = render_url(url)
    assert (harvest.url, harvest.final_url, harvest.status, harvest.text) == (url, site.url("/last"), 200, "last")


def test_what_loads_when_it_comes_into_view_is_there(site: Site, render_url: Rendering) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (50, 50), "red").save(buffer, "PNG")
    site.page("/red.png", buffer.getvalue(), media_type="image/png")
    page = """<!doctype html><body style='margin:0'><div style='height:4000px'>top</div>
      <img loading=lazy src=/red.png width=50 height=50><p id=seen></p><div style='height:100vh'>end</div><script>
      new IntersectionObserver(all => all.some(one => one.isIntersecting) && (seen.textContent = 'seen'))
        .observe(document.getElementById('seen'))</script>"""
    harvest = render_url(site.page("/lazy", page))
    assert opened(harvest).convert("RGB").getpixel((25, 4025)) == (255, 0, 0)
    assert harvest.text.split() == ["top", "seen", "end"]
    assert harvest.height < 4000 + 50 + 100 + 600  # what is as high as the window still is


def test_web_fonts_and_dark_themes_are_shown(site: Site, render_url: Rendering) -> None:
    fonts = installed_fonts(LATIN_FONTS)
    if not fonts:
        pytest.skip("no Latin font is installed")
    site.page("/font", Path(fonts[0]).read_bytes(), media_type="font/ttf")
    page = """<!doctype html><style>@font-face {font-family: own; src: url(/font)} p {font: 40px own, monospace}
      @media (prefers-color-scheme: dark) {body {background: #111; color: #eee}}</style><p>iiiiiiiiii"""
    url = site.page("/themes", page)
    light, dark = render_url(url), render_url(url, colorScheme="dark")
    assert opened(light).convert("L").getpixel((5, 5)) == 255
    assert opened(dark).convert("L").getpixel((5, 5)) == 17
    left, _, right, _ = run_of(light, "iiii").box
    assert right - left < 10 * 20  # a monospaced i would be 24 pixels wide
    assert dark.runs == light.runs


def test_pages_are_cut_between_the_lines_of_a_very_tall_table(render_html: Rendering) -> None:
    rows = "".join(f"<tr><td>{n}</td><td>row number {n}</td></tr>" for n in range(300))
    harvest = render_html(f"<table border=1 style='border-spacing:0'>{rows}</table>")
    cuts = cut_pages(
        harvest.width, harvest.height, [run.box for run in harvest.runs], blank=blank_rows(opened(harvest))
    )
    assert len(cuts) > 4
    assert len(harvest.runs) == 600
    for run in harvest.runs:
        assert sum(cut.top <= run.box[1] and run.box[3] <= cut.bottom for cut in cuts) == 1, run


def test_the_picture_of_the_small_page_in_the_package_is_of_the_page(render_html: Rendering) -> None:
    harvest = render_html(PAGE.read_text(encoding="utf-8"), **VIEW)
    assert harvest.text.split() == TEXT.read_text(encoding="utf-8").split()
    assert (harvest.width, harvest.height) == Image.open(PICTURE).size == (SIDE, SIDE)
    assert max(run.box[3] for run in harvest.runs) < SIDE, "its last line is cut off"
