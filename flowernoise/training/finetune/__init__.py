"""Fine-tuning: trains a network from photos to logits, one run after another, on TensorFlow or JAX."""

from flowernoise.training.finetune.network import build_classifier as build_classifier
from flowernoise.training.finetune.network import named as named
from flowernoise.training.finetune.network import precision as precision
from flowernoise.training.finetune.photos import Photos as Photos
from flowernoise.training.finetune.run import Tuned as Tuned
from flowernoise.training.finetune.run import tune as tune
from flowernoise.training.finetune.trainer import EpochAnswers as EpochAnswers
from flowernoise.training.finetune.trainer import Finetuner as Finetuner
from flowernoise.training.finetune.trainer import FinetuneSetup as FinetuneSetup
from flowernoise.training.finetune.trainer import FinetuneTask as FinetuneTask
