"""What a form control shows: its text is in no node of the page."""

from __future__ import annotations

from workers.sources.browser.tree import Document, Node

WITHOUT_TEXT = frozenset(("checkbox", "radio", "hidden", "password", "range", "color", "file", "image"))
LABELS = {"submit": "Submit", "reset": "Reset"}


class Controls:
    """The values of a document's controls, as they are at the moment."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._inputs, self._texts = document.rare_text("inputValue"), document.rare_text("textValue")
        self._selected = document.selected()

    def shown(self, node: Node) -> str:
        """The text in a control, or what it says while it is empty; none for a password."""
        if node.name == "INPUT":
            kind = self._document.attribute(node, "type").lower()
            if kind in WITHOUT_TEXT:
                return ""
            value = self._inputs.get(node.number, "") or LABELS.get(kind, "")
            return value or self._document.attribute(node, "placeholder")
        if node.name == "TEXTAREA":
            return self._texts.get(node.number, "") or self._document.attribute(node, "placeholder")
        if node.name == "SELECT":
            return self._selected.get(node.number, "")
        return ""
