"""What does the work: prepares sources, reads pages on engines, assembles results. Never imports web."""
