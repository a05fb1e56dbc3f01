"""Stage 4: pictures of the data, of the training, and of what lies between latents."""

from PIL.Image import Image

from gan.config import Device, TrainConfig
from gan.models.latents import sample_inputs
from gan.report.rendering import draw_grid, draw_real_examples, draw_snapshots, save_animation, save_png
from gan.storage.store import FileRef, Store
from tasks.records import NormalizedData, Pictures, TrainedGan
from tasks.stage import stage

PATHS, POINTS_A_PATH = 4, 10


@stage(run_name="render grids and animation", timeout_seconds=3600, incidental=("device",))
def render(store: Store, data: NormalizedData, trained: TrainedGan, config: TrainConfig, device: Device) -> Pictures:
    """Draw real examples, a grid for every snapshot, the animation, and paths between the first fixed latents."""
    from gan.models.backend import use_device
    from gan.models.generation import generate_paths
    from gan.models.networks import load_model

    use_device(device)

    def put(picture: Image) -> FileRef:
        return store.put_file(lambda path: save_png(picture, path), ".png")

    train_images, train_labels = store.load_array(data.train_images), store.load_array(data.train_labels)
    snapshots, steps = store.load_array(trained.snapshots), trained.snapshot_steps
    grids = draw_snapshots(snapshots, steps, num=9, columns=3, scale=7)
    larger_grids = draw_snapshots(snapshots, steps, num=64, columns=8, scale=3)
    generator = load_model(store.path(trained.generator))
    paths = generate_paths(
        generator, sample_inputs(generator, PATHS + 1, seed=config.seed, like_labels=train_labels), POINTS_A_PATH
    )
    return Pictures(
        real_examples=put(draw_real_examples(train_images, train_labels, data.class_names, seed=config.seed)),
        grids=tuple(put(grid) for grid in grids),
        final_grid=put(grids[-1]),
        samples_grid=put(larger_grids[-1]),
        animation=store.put_file(lambda path: save_animation(larger_grids, path), ".webp"),
        interpolation=put(draw_grid(paths, POINTS_A_PATH, scale=3)),
    )
