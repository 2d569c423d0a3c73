"""A small DeepSeek-OCR of our own."""
