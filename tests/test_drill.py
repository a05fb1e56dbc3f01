"""Ten times SIGKILL at random moments: the training ends with the bytes of one that nobody touched."""

import random
import subprocess
import sys
import time

from conftest import PROJECT

TRAIN = """
import hashlib, sys
import numpy as np
from pathlib import Path
from gan.backend import use_device
from gan.checkpoints import Checkpoints
from gan.config import TrainConfig
from gan.training import train

rng = np.random.default_rng(0)
images = rng.uniform(-1, 1, (1000, 28, 28, 1)).astype(np.float32)
config = TrainConfig(steps=900, batch_size=32, seed=5, sample_every=100)
checkpoints = Checkpoints(Path(sys.argv[1]), min_seconds_between=0.2)
result = train(images, config, checkpoints, use_device("cpu"))
arrays = [result.history, result.snapshots]
for network in (result.generator, result.discriminator, result.average):
    arrays += network.get_weights()
print(hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest())
print(result.facts["resumed_at_step"])
"""

KILLS, LONGEST_SECONDS = 10, 9.0


def start(folder) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", TRAIN, str(folder)], cwd=PROJECT, stdout=subprocess.PIPE, text=True)


def finish(folder) -> tuple[str, int]:
    with start(folder) as process:
        output, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    digest, resumed_at = output.split()
    return digest, int(resumed_at)


def test_ten_kills_at_random_moments_leave_no_trace(tmp_path) -> None:
    seed = time.time_ns()
    moments = random.Random(seed)
    for _ in range(KILLS):
        with start(tmp_path / "killed") as process:
            time.sleep(moments.uniform(0, LONGEST_SECONDS))
            process.kill()
    digest, resumed_at = finish(tmp_path / "killed")
    undisturbed, from_the_start = finish(tmp_path / "undisturbed")
    assert from_the_start == 0 < resumed_at, f"the kills came too early to mean anything (seed {seed})"
    assert digest == undisturbed, f"seed {seed}"
