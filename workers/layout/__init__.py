"""Layout: lines of text with their boxes become blocks in reading order, and those markdown. Knows no model."""
