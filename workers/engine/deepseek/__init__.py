"""The engine `deepseek`: DeepSeek-OCR in this process. Only this package imports torch and transformers."""
