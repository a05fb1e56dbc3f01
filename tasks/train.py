"""Stage 3: the generator. The only stage whose time matters; it goes on where a killed run stopped."""

import numpy as np
from prefect.logging import get_run_logger

from gan.checkpoints import Checkpoints
from gan.config import Device, TrainConfig
from gan.progress import progress
from gan.store import Store
from tasks.records import NormalizedData, TrainedGan
from tasks.stage import stage

DAY_SECONDS = 24 * 60 * 60


@stage(
    run_name="train {config.recipe.name}, {config.steps} steps, seed {config.seed}",
    timeout_seconds=DAY_SECONDS,
    incidental=("device",),
)
def train(store: Store, data: NormalizedData, config: TrainConfig, device: Device) -> TrainedGan:
    """Train on the normalized training split; the algorithm is in `gan.training`."""
    from gan.history import history_csv
    from gan.networks import save_model
    from gan.training import train as train_networks

    log = get_run_logger()
    checkpoints = Checkpoints(train.scratch_dir(store, data, config, device))
    done_before = checkpoints.latest_step() or 0
    if done_before:
        log.info("Going on from the checkpoint after %s of %s steps", f"{done_before:,}", f"{config.steps:,}")
    with progress("Training", config.steps, unit="steps", log=log.info, initial=done_before) as update:

        def on_step(steps_done: int, row: np.ndarray) -> None:
            d_loss, d_accuracy, g_loss = row
            update(steps_done, f"d_loss {d_loss:.3f}, d_accuracy {d_accuracy:.2f}, g_loss {g_loss:.3f}")

        training = train_networks(
            store.load_array(data.train_images), config, checkpoints, device=device, on_step=on_step
        )
    return TrainedGan(
        generator=store.put_file(lambda path: save_model(training.generator, path), ".keras"),
        history=store.put_bytes(history_csv(training.history), ".csv"),
        snapshot_steps=training.snapshot_steps,
        snapshots=store.put_array(training.snapshots),
        facts=training.facts,
    )
