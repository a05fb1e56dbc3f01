"""Stage 3: the generator. The only stage whose time matters; it goes on where a killed run stopped."""

from dataclasses import replace

from gan.config import ExecutionConfig, TrainConfig
from gan.errors import TrainingError
from gan.storage.store import Store
from gan.training.checkpoints import Checkpoints
from tasks.records import FittedExtractor, NormalizedData, TrainedGan
from tasks.stage import Stage, stage

DAY_SECONDS = 24 * 60 * 60


@stage(
    run_name="train {config.recipe.name}, {config.steps} steps, seed {config.seed}",
    timeout_seconds=DAY_SECONDS,
    incidental=("execution", "extractor"),
)
def train(
    store: Store, data: NormalizedData, config: TrainConfig, execution: ExecutionConfig, extractor: FittedExtractor
) -> TrainedGan:
    """Train on the normalized training split.

    `gan.training.loop` has the loop. The extractor judges snapshots, for the Prefect UI. No result depends on it.
    """
    if execution.train_on == "gpu":
        from tasks.hand_over import train_on_worker

        arguments = store, data, config, execution, extractor
        return train_on_worker(*arguments, find_result=lambda: train.recorded(*arguments))

    from gan.models.backend import use_device
    from gan.models.networks import save_model
    from gan.training.history import history_csv
    from gan.training.loop import train as train_networks
    from tasks.callbacks import LiveView, ProgressBar, progress, snapshot_judge, tensorboard_callback

    hardware = use_device(execution.device, data_parallel=execution.data_parallel)
    scratch = train.scratch_dir(store, data, config, execution, extractor)
    with progress("Training", config.steps, unit="steps") as update:
        callbacks = [ProgressBar(update), LiveView(config, snapshot_judge(store, data, extractor, config))]
        if execution.tensorboard:
            callbacks.append(tensorboard_callback(store, scratch.name, data, config))
        training = train_networks(
            store.load_array(data.train_images),
            config,
            # on other hardware the training would not end with the same bytes
            Checkpoints(scratch / hardware.folder_name, seconds_between=execution.checkpoint_seconds),
            hardware,
            labels=store.load_array(data.train_labels),
            callbacks=callbacks,
            stop_on_collapse=execution.stop_on_collapse,
        )
    return TrainedGan(
        generator=store.put_file(lambda path: save_model(training.generator, path), ".keras"),
        average=store.put_file(lambda path: save_model(training.average, path), ".keras"),
        history=store.put_bytes(history_csv(training.history), ".csv"),
        snapshot_steps=training.snapshot_steps,
        snapshots=store.put_array(training.snapshots),
        warnings=training.warnings,
        facts=training.facts,
    )


def train_stage(execution: ExecutionConfig) -> Stage[..., TrainedGan]:
    """The stage; where a worker trains it is the worker's process that must be the only one at it."""
    return replace(train, waits=execution.train_on == "here")


def refuse_collapse(trained: TrainedGan, execution: ExecutionConfig) -> None:
    """Hold a cached training to --stop-on-collapse as well.

    Raises:
        TrainingError: If it has warnings and they are to be errors.
    """
    if execution.stop_on_collapse and trained.warnings:
        raise TrainingError(
            f"{trained.warnings[0]}\nThis training was finished before, and --stop-on-collapse refuses its result. "
            "Leave the option out to publish it all the same."
        )
