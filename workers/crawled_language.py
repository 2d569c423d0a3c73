"""Which language a page is written in, told from its visible text."""

from __future__ import annotations

from functools import lru_cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

LOOKED_AT = 20_000  # characters: more text makes it no surer
LETTERS = 24  # bytes of letters in UTF-8: a short sentence in most languages
SURE = 0.5
NO_LANGUAGE = "zxx"


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    """Takes a second and some 30 MB, once a process. Only languages that have a code in ISO 639-1 are told apart."""
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([name for name in identifier.labels if len(name) == 2 or name == NO_LANGUAGE])
    return identifier


def language_of(text: str) -> str | None:
    """The ISO 639-1 code of a text's language; None where there is too little of it, or two that are as likely."""
    some = " ".join(text[:LOOKED_AT].split())
    if sum(len(letter.encode(errors="replace")) for letter in some if letter.isalpha()) < LETTERS:
        return None
    language, probability = _identifier().classify(some)
    return str(language) if probability >= SURE and language != NO_LANGUAGE else None
