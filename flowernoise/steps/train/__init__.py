"""``train``: trains every requested run that does not exist yet, on features or by fine-tuning."""

from flowernoise.steps.settings import TrainSettings
from flowernoise.steps.train.restored import Restored
from flowernoise.steps.train.step import train

__all__ = ["Restored", "TrainSettings", "train"]
