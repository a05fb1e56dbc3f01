"""What a training step is, whatever the algorithm."""

from collections.abc import Callable

from gan.models.backend import tf
from gan.recipes import Recipe

TrainStep = Callable[[tf.Tensor, int], tf.Tensor]
"""One iteration: takes the step (int64 scalar) and its phase; gives its row of the history, float32 (3,).

The phase is the step modulo the recipe's `penalty_every`, known when the program is compiled; the article has none.
"""


def is_compiled_by_xla(recipe: Recipe) -> bool:
    """Whether XLA makes one program of a step.

    On a CPU its convolutions are half as fast as those of TensorFlow's graph (docs/recipes.md has figures); on a GPU
    nobody has measured it.
    """
    return recipe.layers == "dense"
