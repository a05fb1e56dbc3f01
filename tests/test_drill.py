"""Kill a training ten times at random moments: it ends with the bytes of an uninterrupted one."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pipeline import PROJECT, finish, wait_until

TRAIN = """
import hashlib, sys
import numpy as np
from pathlib import Path
from gan.models.backend import use_device
from gan.training.checkpoints import Checkpoints
from gan.config import TrainConfig
import gan.training.engine
from gan.recipes import ARTICLE
from gan.training.loop import train

gan.training.engine.UNROLL_FROM_STEPS = int(sys.argv[2])

rng = np.random.default_rng(0)
images = rng.uniform(-1, 1, (1000, 28, 28, 1)).astype(np.float32)
steps = int(sys.argv[3])
config = TrainConfig(
    recipe=ARTICLE, steps=steps, batch_size=32, seed=5, sample_every=100, num_snapshot_images=64
)
checkpoints = Checkpoints(Path(sys.argv[1]), seconds_between=0.2)
result = train(images, config, checkpoints, use_device("cpu"))
arrays = [result.history, result.snapshots, result.average_snapshots]
for network in (result.generator, result.discriminator, result.average):
    arrays += network.get_weights()
print(hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest())
print(result.facts["resumed_at_step"])
"""

KILLS, STEPS = 10, 2000

pytestmark = pytest.mark.drill


def start(folder: Path, unroll_from: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, str(folder), str(unroll_from), str(STEPS)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )


def newest_checkpoint(folder: Path) -> str:
    """Return the name of the newest checkpoint, which starts with its step."""
    return max((path.name for path in folder.glob("*.npz")), default="")


def wait_for_newer_checkpoint(folder: Path, than: str, process: subprocess.Popen[str]) -> None:
    wait_until(lambda: newest_checkpoint(folder) > than, process=process)


def finish_training(folder: Path, unroll_from: int) -> tuple[str, int]:
    with start(folder, unroll_from) as process:
        digest, resumed_at = finish(process).split()
    return digest, int(resumed_at)


@pytest.mark.parametrize("unroll_from", [0, 10**6], ids=["unrolled", "one step a call"])
def test_ten_kills_at_random_moments_leave_no_trace(tmp_path, unroll_from) -> None:
    seed = time.time_ns()
    moments = random.Random(seed)
    for number in range(KILLS):
        before = newest_checkpoint(tmp_path / "killed")
        assert not before.startswith(f"{STEPS:010}"), "the training ended before its last kill: give it more STEPS"
        with start(tmp_path / "killed", unroll_from) as process:
            if number % 2:  # after it has resumed and saved a checkpoint; the other kills may hit its start too
                wait_for_newer_checkpoint(tmp_path / "killed", before, process)
                time.sleep(moments.uniform(0, 0.5))
            else:
                time.sleep(moments.uniform(0, 9))
            process.kill()
    digest, resumed_at = finish_training(tmp_path / "killed", unroll_from)
    uninterrupted, from_the_start = finish_training(tmp_path / "uninterrupted", unroll_from)
    assert from_the_start == 0 < resumed_at, f"the kills came too early to mean anything (seed {seed})"
    assert digest == uninterrupted, f"seed {seed}"
