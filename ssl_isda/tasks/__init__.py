"""What is predicted of an image, one file a task. To add one: write its file and import it here.

They import ``base``, ``parallel``, the networks' contract and torch alone.
"""

from ssl_isda.tasks import classification, segmentation
from ssl_isda.tasks.contract import TASKS

__all__ = ["TASKS", "classification", "segmentation"]
