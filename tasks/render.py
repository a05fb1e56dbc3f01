"""The stage that draws pictures of the data, the training, and the paths between latents."""

from gan.config import Device, TrainConfig
from gan.storage.store import Store
from tasks.records import NormalizedData, Pictures, TrainedGan, put_files
from tasks.stage import stage


@stage(run_name="render grids and animation", timeout_seconds=3600, incidental=("device",))
def render(store: Store, data: NormalizedData, trained: TrainedGan, config: TrainConfig, device: Device) -> Pictures:
    """Draw real examples, a grid for every snapshot, the animation, and paths between latents."""
    from gan.models.backend import use_device
    from gan.report.training_pictures import draw_training

    use_device(device)
    drawn = draw_training(
        store.path(trained.average),
        store.load_array(data.train_images),
        store.load_array(data.train_labels),
        data.class_names,
        store.load_array(trained.snapshots),
        config.snapshot_steps,
        seed=config.seed,
    )
    return Pictures(by_path=put_files(store, drawn))
