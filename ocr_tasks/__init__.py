"""The contract of LightDom OCR: what callers, web and workers share.

Importable without Flask, torch or a browser: a crawler that submits jobs needs nothing more.
"""

__version__ = "0.1.0"
