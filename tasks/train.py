"""The stage that trains the generator. By far the longest stage; it resumes where a killed run stopped."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan.config import ExecutionConfig, TrainConfig
from gan.storage.store import Store
from gan.training.checkpoints import Checkpoints
from tasks.records import FittedExtractor, NormalizedData, TrainedGan
from tasks.stage import stage

log = logging.getLogger(__name__)


def fields_read(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the fields of the data that decide the result: labels only for a recipe with classes."""
    images = ("train_images",)
    return (*images, "train_labels") if arguments["config"].recipe.num_classes else images


@stage(
    run_name="train {config.recipe.name}, {config.steps} steps, seed {config.seed}",
    timeout_seconds=24 * 3600,
    incidental=("execution", "extractor"),
    reads={"data": fields_read},
)
def train(
    store: Store, data: NormalizedData, config: TrainConfig, execution: ExecutionConfig, extractor: FittedExtractor
) -> TrainedGan:
    """Train on the training split. The rest of the data and the extractor are for the live view in the Prefect UI."""
    if execution.train_on == "gpu":
        from tasks.hand_over import train_on_worker

        arguments = store, data, config, execution, extractor
        return train_on_worker(
            *arguments, cache_key=train.key(*arguments), find_result=lambda: train.recorded(*arguments)
        )

    from gan.models.backend import use_device
    from gan.models.networks import save_model
    from gan.training.loop import train as train_gan
    from tasks.callbacks import LiveView, ProgressBar, progress, snapshot_judge, tensorboard_callback

    hardware = use_device(execution.device)
    scratch = train.scratch_dir(store, data, config, execution, extractor)
    _log_other_checkpoints(scratch, hardware.folder_name)
    judge = snapshot_judge(store, data, extractor, config)
    with (
        progress("Training", config.steps, unit="steps") as update,
        LiveView(config, hardware.name, judge) as live_view,
    ):
        callbacks = [ProgressBar(update), live_view]
        if execution.tensorboard:
            callbacks.append(tensorboard_callback(store, scratch.name, data, config))
        result = train_gan(
            store.load_array(data.train_images),
            config,
            # another device or number of threads gives other bytes
            Checkpoints(scratch / hardware.folder_name, seconds_between=execution.checkpoint_seconds),
            hardware,
            labels=store.load_array(data.train_labels),
            callbacks=callbacks,
            stop_on_collapse=execution.stop_on_collapse,
        )
    return TrainedGan(
        generator=store.put_file(lambda path: save_model(result.generator, path), ".keras"),
        average=store.put_file(lambda path: save_model(result.average, path), ".keras"),
        history=store.put_array(result.history),
        snapshots=store.put_array(result.snapshots),
        average_snapshots=store.put_array(result.average_snapshots),
        warnings=result.warnings,
        facts=result.facts,
    )


def _log_other_checkpoints(scratch: Path, used: str) -> None:
    others = sorted(path.name for path in scratch.glob("*") if path.name != used)
    if others:
        log.info(
            "An unfinished training on %s is not continued on %s: it would end with other bytes.",
            " and ".join(others),
            used,
        )
