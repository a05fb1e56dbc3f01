"""Try trainings on this machine's GPU: python -m bench.check_gpu (make check-gpu).

Each training runs in its own process, on noise in place of images. TensorFlow must see the GPU, and trainings must end.
Trainings in float32 must give the same bytes twice, also after SIGKILL half-way. With TF32 this is not promised
(docs/training.md), so the table only says whether the bytes were equal.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from cyclopts.validators import Number
from rich import box
from rich.table import Table

from bench.contenders import load_images
from gan.command import new_app, print_table, run_command, terminal
from gan.config import Device
from gan.errors import FashionGanError
from gan.recipes import RECIPES, RecipeName

RECIPES_TO_CHECK: tuple[RecipeName, ...] = ("article", "mlp", "conditional-gpu")
COLUMNS = "recipe", "device", "ms a step", "first call, s", "same bytes twice", "after SIGKILL"

MOST_SECONDS = 300
"""Time limit of one training, most of which is compilation."""

console = terminal(stderr=True)
app = new_app("bench.check_gpu", "Try trainings on this machine's GPU.")


class CheckError(FashionGanError):
    """A check did not pass."""


@app.default
def check(*, device: Device = "gpu", steps: Annotated[int, Parameter(validator=Number(gte=4))] = 1000) -> None:
    """Train dense and convolutional networks for a moment: twice, and once more with SIGKILL half-way.

    Args:
        device: Where to train; "gpu" fails without a GPU.
        steps: Steps of each training.
    """
    from gan.models.backend import use_device

    use_device(device)  # an error if there is none
    table = Table(*COLUMNS, box=box.SIMPLE_HEAD)
    failures = []
    for recipe in RECIPES_TO_CHECK:
        try:
            row, found = check_recipe(recipe, device, steps)
            table.add_row(*row)
            failures += found
        except CheckError as error:
            failures.append(str(error))
    output = terminal()
    print_table(output, table)
    if failures:
        raise CheckError("\n".join(["The check failed.", *failures, "Send this output to the developers."]))
    output.print("All trainings ended, and gave the same bytes where they should.")


def check_recipe(recipe: RecipeName, device: Device, steps: int) -> tuple[list[str], list[str]]:
    """Return the row of a recipe in the table, and what is wrong; raise CheckError if a training fails."""
    console.print(f"{recipe}: {steps:,} steps, alone")
    with tempfile.TemporaryDirectory() as folder:
        trainings = [Path(folder, name) for name in ("one", "two", "killed")]
        first = train(recipe, device, steps, trainings[0])  # alone, for its speed
        console.print(f"{recipe}: again, and once more with SIGKILL half-way")
        with ThreadPoolExecutor(2) as pool:
            again = pool.submit(train, recipe, device, steps, trainings[1])
            was_killed = not pool.submit(train, recipe, device, steps, trainings[2], kill_at=steps // 2).result()
            resumed, second = train(recipe, device, steps, trainings[2]), again.result()
    failures = []
    if not was_killed:
        failures.append(f"{recipe} was not killed.")
    elif not resumed["resumed_at_step"]:
        failures.append(f"{recipe} started again after SIGKILL.")
    equal = first["sha256"] == second["sha256"], first["sha256"] == resumed["sha256"]
    promised = "tf32" not in str(first["engine"])
    if promised and not all(equal):
        failures.append(f"{recipe} did not give the same bytes.")
    words = ["yes" if same else "no" if promised else "no (not promised)" for same in equal]
    speed = [f"{float(first['milliseconds_per_step']):.3g}", f"{float(first['first_call_seconds']):.1f}"]
    return [recipe, str(first["device"]), *speed, *words], failures


def train(recipe: RecipeName, device: Device, steps: int, folder: Path, kill_at: int = 0) -> dict[str, str | float]:
    """Train in a process of its own; return its facts and a SHA-256 of the weights, or {} if it is to be killed.

    Raises:
        CheckError: If the process fails, or does not end in time.
    """
    command = [sys.executable, "-m", "bench.check_gpu", "train", recipe, device, str(steps), str(folder), str(kill_at)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise CheckError(f"{recipe} did not end within {MOST_SECONDS} s.") from error
    if kill_at and done.returncode == -signal.SIGKILL:
        return {}
    if done.returncode:
        raise CheckError(f"{recipe} failed:\n{(done.stderr or done.stdout).strip()[-2000:]}")
    facts: dict[str, str | float] = json.loads(done.stdout.splitlines()[-1])
    return facts


@app.command(name="train", show=False)
def train_here(recipe: RecipeName, device: Device, steps: int, folder: Path, kill_at: int) -> None:
    """Train on noise, and print facts as JSON; with `kill_at`, kill this process after so many steps."""
    from gan.config import TrainConfig
    from gan.models.backend import use_device
    from gan.training.checkpoints import Checkpoints
    from gan.training.loop import Callback, train

    class Kill(Callback):
        def on_step(self, steps_done: int, row: np.ndarray) -> None:
            if steps_done >= kill_at > 0:
                os.kill(os.getpid(), signal.SIGKILL)

    card = RECIPES[recipe]
    config = TrainConfig(
        recipe=card, steps=steps, batch_size=card.batch_size, sample_every=max(1, steps // 4), num_snapshot_images=9
    )
    images = load_images()
    result = train(
        images,
        config,
        Checkpoints(folder, seconds_between=0),
        use_device(device),
        labels=np.arange(len(images)) % card.num_classes if card.num_classes else None,
        callbacks=[Kill()],
    )
    weights = [
        variable.numpy().tobytes() for model in (result.generator, result.average) for variable in model.variables
    ]
    digest = {"sha256": hashlib.sha256(b"".join(weights)).hexdigest()}
    print(json.dumps(result.facts | digest))  # noqa: T201


if __name__ == "__main__":
    run_command(app)
