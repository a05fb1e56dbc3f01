"""Training on two devices of one machine: two logical CPUs, instead of two GPUs, which these machines do not have."""

import subprocess
import sys

from conftest import PROJECT

SCRIPT = """
import numpy as np
from gan.models.backend import Hardware, keras, tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from pathlib import Path
from gan.training.checkpoints import Checkpoints
from gan.config import TrainConfig
from gan.training.engine import build_engine
from gan.errors import SettingsError
from gan.models.networks import load_model, save_model
from gan.training.loop import train

folder = Path(FOLDER)
images = np.random.default_rng(0).uniform(-1, 1, (500, 28, 28, 1)).astype(np.float32)
config = TrainConfig(steps=20, batch_size=64, seed=1, sample_every=10)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
one_device, two_devices = Hardware("CPU", "CPU"), Hardware("CPU", "2 x CPU", strategy)

keras.config.set_dtype_policy("float64")
one, two = build_engine(images, config, one_device), build_engine(images, config, two_devices)
for step in range(config.steps):
    np.testing.assert_allclose(
        two.run_steps(step, step + 1), one.run_steps(step, step + 1), rtol=0, atol=TOLERANCE
    )
for mine, other in zip(one.networks.variables, two.networks.variables, strict=True):
    np.testing.assert_allclose(np.asarray(mine), np.asarray(other), rtol=0, atol=TOLERANCE, err_msg=mine.path)

keras.config.set_dtype_policy("float32")
trained = train(images, config, Checkpoints(folder / "two"), two_devices)
print(trained.facts["engine"])
save_model(trained.generator, folder / "g.keras")
latents = np.zeros((2, 100), np.float32)
np.testing.assert_allclose(load_model(folder / "g.keras")(latents), trained.generator(latents), atol=1e-6)
try:
    build_engine(images, config.model_copy(update={"batch_size": 7}), two_devices)
except SettingsError as error:
    print(error)
"""

TOLERANCE = 1e-6
"""For weights, statistics and Adam's moments after 20 steps in float64, where rounding is negligible. (In float32 the
sums of two halves round differently, and Adam's first steps move a weight by its gradient's sign: weights differ by up
to 7e-4.)"""


def test_two_devices_train_as_one_does_on_the_same_global_batch(tmp_path) -> None:
    script = SCRIPT.replace("FOLDER", repr(str(tmp_path))).replace("TOLERANCE", repr(TOLERANCE))
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "each batch split over 2 devices" in done.stdout
    assert "A batch of 7 cannot be split evenly over 2 devices" in done.stdout
