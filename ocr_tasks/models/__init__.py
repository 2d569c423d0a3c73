"""SQLAlchemy mappings of schema.sql; a test builds a database from each and finds no difference.

schema.sql is the truth and says what each field means.
"""

from ocr_tasks.models.base import Base
from ocr_tasks.models.dom import Crawl, Harvest, ProcessingStats, VisualCompression
from ocr_tasks.models.jobs import Job, Node, Page, Range

__all__ = ["Base", "Crawl", "Harvest", "Job", "Node", "Page", "ProcessingStats", "Range", "VisualCompression"]
