"""Two devices of one machine, here two logical CPUs: a stand-in for two GPUs, which these machines do not have."""

import subprocess
import sys

from conftest import PROJECT

SCRIPT = """
import numpy as np
from gan.backend import Hardware, tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from gan.checkpoints import Checkpoints
from gan.config import TrainConfig
from gan.errors import SettingsError
from gan.networks import load_generator, save_model
from gan.training import train
from pathlib import Path

folder = Path(FOLDER)
images = np.random.default_rng(0).uniform(-1, 1, (500, 28, 28, 1)).astype(np.float32)
config = TrainConfig(steps=20, batch_size=64, seed=1, sample_every=10)
one = train(images, config, Checkpoints(folder / "one"), Hardware("CPU", "CPU"))
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
two = train(images, config, Checkpoints(folder / "two"), Hardware("CPU", "2 x CPU", strategy))
print(two.facts["engine"])
np.testing.assert_allclose(two.history[:, [0, 2]], one.history[:, [0, 2]], rtol=0, atol=TOLERANCE)  # losses
for network in ("generator", "discriminator", "average"):
    for mine, other in zip(getattr(one, network).get_weights(), getattr(two, network).get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=TOLERANCE)
save_model(two.generator, folder / "g.keras")
latents = np.zeros((2, 100), np.float32)
np.testing.assert_allclose(load_generator(folder / "g.keras")(latents), two.generator(latents), atol=1e-6)
try:
    train(images, config.model_copy(update={"batch_size": 7}), Checkpoints(folder / "odd"),
          Hardware("CPU", "2 x CPU", strategy))
except SettingsError as error:
    print(error)
"""

TOLERANCE = 2e-3
"""Of a weight after 20 steps. Sums over two halves round otherwise, and Adam's first steps move a weight by 2e-4 in the
direction of its gradient's sign, however small that is: where it rounds to the other side, weights part by 4e-4."""


def test_two_devices_train_as_one_does_on_the_same_global_batch(tmp_path) -> None:
    script = SCRIPT.replace("FOLDER", repr(str(tmp_path))).replace("TOLERANCE", repr(TOLERANCE))
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "each batch split over 2 devices" in done.stdout
    assert "A batch of 7 cannot be split evenly over 2 devices" in done.stdout
