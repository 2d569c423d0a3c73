"""The families of models that are served alike."""

from __future__ import annotations

from enum import StrEnum


class Family(StrEnum):
    """A kind of DeepSeek-OCR checkpoint."""

    DEEPSEEK_OCR = "deepseek-ocr"
    DEEPSEEK_OCR2 = "deepseek-ocr-2"
    UNLIMITED_OCR = "unlimited-ocr"
