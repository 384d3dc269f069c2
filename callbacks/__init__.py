"""Callbacks that watch or steer a run. They work in any plain Trainer, with any logger or none."""

from callbacks.checkpoints import Checkpoints
from callbacks.cosine_annealing import CosineAnnealing
from callbacks.generative_metrics import GenerativeMetrics
from callbacks.image_grid import ImageGrid
from callbacks.interpolation_strip import InterpolationStrip
from callbacks.length_curriculum import LengthCurriculum
from callbacks.postponed_stop import PostponedStop
from callbacks.prediction_files import PredictionFiles
from callbacks.stacked_modes import StackedModes
from callbacks.stop_when_solved import StopWhenSolved
from callbacks.timer import Timer

__all__ = [
    "Checkpoints",
    "CosineAnnealing",
    "GenerativeMetrics",
    "ImageGrid",
    "InterpolationStrip",
    "LengthCurriculum",
    "PostponedStop",
    "PredictionFiles",
    "StackedModes",
    "StopWhenSolved",
    "Timer",
]
