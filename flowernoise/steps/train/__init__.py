"""``train``: train every run that is asked for and not there yet, on features or by fine-tuning."""

from flowernoise.steps.train.settings import Restored, TrainSettings
from flowernoise.steps.train.step import train

__all__ = ["Restored", "TrainSettings", "train"]
