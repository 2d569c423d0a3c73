"""A page's markdown as HTML that is safe to open.

The text comes from engines and so, in the end, from strangers: raw HTML in it stays text, links are left out. Let
through are tables and figures exactly as engines' markdown writes them, each alone on its line, and formulas, which
stay as they are for whoever sets them.
"""

from __future__ import annotations

import re

import nh3
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererProtocol
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from ocr_tasks.contract import FIGURE_PATH

TAGS = {"h1", "h2", "h3", "h4", "h5", "h6", "p", "br", "hr", "ul", "ol", "li", "table", "thead", "tbody", "tr", "td",
        "th", "em", "strong", "code", "pre", "blockquote", "img"}  # fmt: skip
ATTRIBUTES = {"td": {"colspan", "rowspan"}, "img": {"src", "alt"}}

TABLE = re.compile(
    r'<table>(?:<tr>(?:<td(?: colspan="[0-9]{1,3}")?(?: rowspan="[0-9]{1,3}")?>[^<>]*</td>)*</tr>)*</table>'
)
FIGURE = re.compile(rf"!\[figure\]\(({FIGURE_PATH.pattern})\)")
CLOSERS = {r"\(": r"\)", r"\[": r"\]"}


def safe_html(markdown: str) -> str:
    """The HTML of a page's markdown."""
    return nh3.clean(MARKDOWN.render(markdown), tags=TAGS, attributes=ATTRIBUTES)


def _own_line(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A line that is a table or a figure, and nothing else."""
    line = state.src[state.bMarks[start] + state.tShift[start] : state.eMarks[start]]
    figure = FIGURE.fullmatch(line) if line.startswith("![") else None
    if state.is_code_block(start) or not (figure or (line.startswith("<table>") and TABLE.fullmatch(line))):
        return False
    if not silent:
        state.line = start + 1
        token = state.push("html_block", "", 0)
        token.content = f'<p><img src="{figure[1]}" alt="figure"></p>\n' if figure else f"{line}\n"
    return True


def _formula(state: StateInline, silent: bool) -> bool:
    """A formula, whose marks markdown would take for escaped brackets."""
    closer = CLOSERS.get(state.src[state.pos : state.pos + 2])
    if closer is None or state.env.get(closer) is state.src:
        return False
    end = state.src.find(closer, state.pos + 2)
    if end < 0:
        state.env[closer] = state.src  # none further on, either: not to be looked for again
        return False
    if not silent:
        state.push("formula", "", 0).content = state.src[state.pos : end + 2]
    state.pos = end + 2
    return True


def _escaped(self: RendererProtocol, tokens: list[Token], at: int, options: OptionsDict, env: EnvType) -> str:
    return escapeHtml(tokens[at].content)


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "image", "autolink"])
    parser.block.ruler.before("table", "own_line", _own_line)
    parser.inline.ruler.before("escape", "formula", _formula)
    parser.add_render_rule("formula", _escaped)
    return parser


MARKDOWN = _parser()
