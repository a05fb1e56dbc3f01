"""Checks of a run's settings before any work is done, so that a run that cannot succeed fails in a second."""

from prefect.settings import PREFECT_API_URL

from flows.settings import RunSettings
from gan.data.catalog import CATALOG
from gan.data.sources import copy_verified
from gan.errors import SettingsError
from gan.runs.champion import champion_of
from gan.runs.publish import check_run_name, restore_runs
from tasks.reference import check_comparable


def check_before_work(settings: RunSettings) -> None:
    """Check the settings of a run, after restoring runs that a killed process has left hidden.

    Raises:
        StoreError: If the output folder cannot be written.
        SettingsError: If a name, a reference, the champion's history or a server cannot be used.
        GpuError: If a GPU is required, and there is none.
        DataError: If `data_dir` does not hold the data set.
    """
    if settings.train_on == "gpu" and PREFECT_API_URL.value() is None:
        raise SettingsError(
            "--train-on gpu hands the training over to a GPU worker, but PREFECT_API_URL is not set: the embedded "
            "server has no workers.\nStart a server (make server, make setup-server, make gpu-worker) and set "
            "PREFECT_API_URL=http://127.0.0.1:4200/api, or train in this process (--train-on here)."
        )
    root = settings.output_dir
    restore_runs(root)
    check_name(settings)
    champion_of(root)  # reads the champion's history
    if settings.reference_folder is not None:
        check_comparable(settings.reference_folder, settings.data)
    if settings.train_on == "here" and settings.device == "gpu":
        from gan.models.backend import use_device  # imports TensorFlow, which only these settings need now

        use_device(settings.device)
    if settings.data_dir is not None and settings.dataset in CATALOG:  # other data was checked when it was described
        copy_verified(settings.data, settings.data_dir, target=None)


def check_name(settings: RunSettings) -> None:
    """Refuse a name that no folder can have, or that a run with other settings has (`SettingsError`)."""
    run = settings.run_config()
    check_run_name(settings.output_dir, run.name, run.content().model_dump(mode="json"))
