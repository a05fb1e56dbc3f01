"""What a user can set: one model for the command line, the UI's Run form and the checks on both."""

import hashlib
import json
import os
from functools import cached_property
from pathlib import Path
from typing import Self

from prefect.settings import PREFECT_API_URL
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from gan.command import describe_validation
from gan.config import DataConfig, Device, ExecutionConfig, RunConfig, SampleConfig, TrainConfig, TrainOn
from gan.data.catalog import CATALOG, FASHION_MNIST, Dataset
from gan.data.folder import describe_folder
from gan.data.sources import copy_verified
from gan.errors import DataError, SettingsError
from gan.recipes import RECIPES, RecipeName, changed, values_by_name
from gan.runs.champion_history import champion_of
from gan.runs.publish import RUN_NAME, check_run_name, restore_runs
from gan.storage.file_system import check_is_text
from gan.storage.links import follow
from gan.storage.store import Store
from tasks.reference import check_comparable

ALERT_VARIABLE = "FASHION_GAN_ALERT_BLOCK"
STORE_URL_VARIABLE = "FASHION_GAN_STORE_URL"
SEED_LIMIT = 2**31
SMOKE_STEPS, SMOKE_SAMPLE_EVERY, SMOKE_NUM_SAMPLES = 200, 100, 1000

OWN_OPTIONS = frozenset({"steps", "batch_size"})
"""What is on a recipe's card and has an option; a sweep alone takes several values of it in `set`."""


class RunSettings(BaseModel):
    """Options of a run. What is left empty comes from the recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: RecipeName = Field("article", description="how to train; gan/recipes.py has the cards")
    steps: PositiveInt | None = Field(
        None,
        le=2**28,
        description="iterations of the recipe's algorithm; empty: the recipe's own ("
        + "; ".join(f"{recipe.name}: {recipe.steps:,}" for recipe in RECIPES.values())
        + ")",
    )
    batch_size: PositiveInt | None = Field(None, le=8192, description="images a step; empty: the recipe's own")
    set: tuple[str, ...] = Field(
        (),
        description="numbers on the recipe's card to change, each as name=value, such as learning_rate=1e-4; "
        "gan/recipes.py has the names",
    )
    seed: NonNegativeInt = Field(
        0,
        lt=SEED_LIMIT,
        description="seeds weights, batches and latents; equal seeds give equal runs on the same device",
    )
    sample_every: PositiveInt | None = Field(None, description="steps between two sample grids; empty: 1,000")
    num_samples: PositiveInt | None = Field(
        None,
        ge=100,
        le=60_000,
        description="images in samples.npz; the run is judged by the first 10,000, as many as are in the test split; "
        "empty: 10,000",
    )
    dataset: str = Field(
        FASHION_MNIST.name,
        pattern="^[a-z0-9][a-z0-9-]{0,59}$",
        description="name of the data set; one of your own is had from its data_dir, under a name of lower-case "
        "letters, digits and dashes, up to 60",
    )
    data_dir: Path | None = Field(
        None,
        description="folder with the four files of the data set, .gz or unpacked; empty: an earlier download, "
        "the public mirrors, Debian's package",
    )
    output_dir: Path = Field(Path("artifacts"), description="folder for the store and the published runs")
    store_url: str | None = Field(
        None,
        description="object store that machines share, as in s3://bucket/prefix; empty: the environment's "
        f"{STORE_URL_VARIABLE}, or none",
    )
    run_name: str | None = Field(
        None,
        json_schema_extra={"pattern": f"^{RUN_NAME.pattern}$"},  # for the form; elsewhere check_run_name says it better
        description="name of the published run, up to 100 letters, digits, dots, dashes and underscores; "
        "empty: made from the settings",
    )
    compare_with: str | None = Field(
        None,
        description="an earlier run that this one is compared with: its name, or the folder of a published run; "
        "empty: the latest one",
    )
    no_promote: bool = Field(
        False, description="leave the champion as it is, even if this run beats it; the gate is asked all the same"
    )
    train_on: TrainOn = Field(
        "here", description="here: train in this process; gpu: as a run of its own on a GPU worker (make gpu-worker)"
    )
    worker_timeout: PositiveInt = Field(
        600, description="seconds to wait for a GPU worker that takes the training, before this run fails"
    )
    device: Device = Field("auto", description="auto: a GPU if there is one; gpu: insist on one")
    data_parallel: bool = Field(
        False,
        description="split each batch of the article over all GPUs of this machine; slower for networks this small",
    )
    stop_on_collapse: bool = Field(False, description="end with an error where there would be a warning of collapse")
    tensorboard: bool = Field(
        False, description="write event files for TensorBoard below the output folder, when training is not cached"
    )
    refresh: bool = Field(
        False, description="run every stage again, whatever is cached; a training that was stopped half-way goes on"
    )
    alert_block: str | None = Field(
        None,
        validate_default=True,
        pattern="^[a-z0-9-]+/[a-z0-9-]+$",
        description="a notification block of Prefect, as type/name, such as slack-webhook/team; it is told when a run "
        f"fails or crashes and when a training shows signs of collapse; empty: ${ALERT_VARIABLE}, or nobody",
    )
    smoke: bool = Field(
        False, description=f"a quick look at all stages: {SMOKE_STEPS} steps, {SMOKE_NUM_SAMPLES:,} samples, unless set"
    )

    @field_validator("alert_block", mode="before")
    @classmethod
    def _take_from_environment(cls, given: object) -> object:
        return given or os.environ.get(ALERT_VARIABLE) or None  # a form may send what is left empty, as null

    @field_validator("data_dir", "compare_with", mode="after")
    @classmethod
    def _refuse_undecodable(cls, given: Path | str | None) -> Path | str | None:
        check_is_text(Path(given or ""))  # of output_dir the store says so
        return given

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        try:
            self.train_config()
        except ValidationError as error:
            raise ValueError(describe_validation(error)) from error
        if self.dataset not in CATALOG and self.data_dir is None:
            raise ValueError(
                f"--dataset {self.dataset} is none that we know a source of (those are: {', '.join(CATALOG)}).\n"
                "If it is your own, name the folder with its four files with --data-dir."
            )
        if self.data_parallel and self.device == "cpu":
            raise ValueError("--data-parallel splits a batch over GPUs; it cannot go with --device cpu.")
        if self.data_parallel and RECIPES[self.recipe].algorithm != "article":
            raise ValueError(f"--data-parallel splits the article's iteration; --recipe {self.recipe} has another one.")
        return self

    @cached_property
    def data(self) -> Dataset:
        """The data set; one of the user's own is described once, by what its folder holds then.

        Raises:
            DataError: If the folder does not hold a data set.
        """
        if self.data_dir is None or self.dataset in CATALOG:
            return CATALOG[self.dataset]
        return describe_folder(self.dataset, self.data_dir)

    def train_config(self) -> TrainConfig:
        """Settings of the training stage."""
        recipe = changed(RECIPES[self.recipe], self._card_changes())
        return TrainConfig(
            recipe=recipe,
            steps=self.steps or (SMOKE_STEPS if self.smoke else recipe.steps),
            batch_size=self.batch_size or recipe.batch_size,
            seed=self.seed,
            sample_every=self.sample_every or (SMOKE_SAMPLE_EVERY if self.smoke else 1000),
        )

    def _card_changes(self) -> dict[str, str]:
        changes = {}
        for name, values in values_by_name(self.set).items():
            if len(values) > 1:
                raise SettingsError(
                    f"--set got {len(values)} values of {name}; a run has one. flows/sweep_flow.py tries several."
                )
            if name in OWN_OPTIONS:
                option = f"--{name.replace('_', '-')}"
                raise SettingsError(f"--set got {name}={values[0]}; give {option} {values[0]} instead.")
            changes[name] = values[0]
        return changes

    def execution(self) -> ExecutionConfig:
        """How the training is carried out."""
        return ExecutionConfig(
            device=self.device,
            data_parallel=self.data_parallel,
            stop_on_collapse=self.stop_on_collapse,
            tensorboard=self.tensorboard,
            train_on=self.train_on,
            worker_timeout=self.worker_timeout,
        )

    def sample_config(self) -> SampleConfig:
        """Settings of the samples that the run is judged by."""
        return SampleConfig(
            num_images=self.num_samples or (SMOKE_NUM_SAMPLES if self.smoke else 10_000), seed=self.seed
        )

    def run_config(self) -> RunConfig:
        """The run, under its given or its default name.

        Raises:
            DataError: If a data set of the user's own is not one.
            SettingsError: If the recipe was set to another number of classes than the data set has.
        """
        unnamed = RunConfig(
            name="", train=self._for_data(self.train_config()), samples=self.sample_config(), data=self._data_config()
        )
        digest = hashlib.sha256(json.dumps(unnamed.content(), sort_keys=True).encode()).hexdigest()
        default = f"{self.recipe}-{unnamed.train.steps}-seed{self.seed}-{digest[:6]}"
        if unnamed.data:
            default = f"{self.dataset[:40]}-{default}"
        return unnamed.model_copy(update={"name": self.run_name or default})

    def _for_data(self, train: TrainConfig) -> TrainConfig:
        """The same with as many classes on its card as the data set has, if it has any."""
        recipe, num_classes = train.recipe, len(self.data.class_names)
        if recipe.num_classes in (0, num_classes):
            return train
        if "num_classes" in self._card_changes():
            raise SettingsError(
                f"--set got num_classes={recipe.num_classes}, but {self.dataset} has {num_classes} classes.\n"
                "Leave it out: a recipe with classes takes those of its data."
            )
        recipe = recipe.model_copy(update={"num_classes": num_classes})
        return train.model_copy(update={"recipe": recipe})

    def _data_config(self) -> DataConfig | None:
        """What a data set other than Fashion-MNIST adds to the run's content."""
        if self.data == FASHION_MNIST:
            return None
        digests = {file.name: file.sha256 for file in self.data.files}
        return DataConfig(name=self.data.name, class_names=self.data.class_names, sha256=digests)

    @property
    def reference_folder(self) -> Path | None:
        """Folder of the run that was asked for with `compare_with`."""
        if self.compare_with is None:
            return None
        given = Path(self.compare_with)
        places = (self.output_dir / "runs" / given, self.output_dir / given, given)
        try:
            found = map(follow, places)
            return next((folder for folder in found if folder.is_dir()), given)
        except (OSError, RuntimeError, ValueError):
            return given  # no path at all; what is read there says so

    @property
    def run_label(self) -> str:
        """What the flow run is called in the UI; never an error, which would leave the run pending for ever."""
        try:
            return self.run_config().name
        except (DataError, SettingsError):  # the run itself will end with it
            return self.run_name or self.dataset

    def check_name(self) -> None:
        """Make sure that the run can be published under its name.

        Raises:
            DataError: If a data set of the user's own is not one.
            SettingsError: If the name is none, or another run's.
        """
        run = self.run_config()
        check_run_name(self.output_dir.expanduser(), run.name, run.content())

    def open_store(self) -> Store:
        """The store of the output folder, after checking all that can be checked before any work is done.

        Raises:
            StoreError: If the output folder or the object store cannot be used.
            SettingsError: If the run's name cannot be used, the champion's history cannot be read, or a worker is to
                train and there is no server to find one.
            TrainingError: If a GPU is insisted on, and there is none.
            DataError: If `data_dir` is given and does not hold the data set.
        """
        if self.train_on == "gpu" and PREFECT_API_URL.value() is None:
            raise SettingsError(
                "--train-on gpu hands the training over to a GPU worker, but PREFECT_API_URL is not set: the embedded "
                "server has no workers.\nStart a server (make server, make setup-server, make gpu-worker) and set "
                "PREFECT_API_URL=http://127.0.0.1:4200/api, or train in this process (--train-on here)."
            )
        restore_runs(self.output_dir.expanduser())
        self.check_name()
        champion_of(self.output_dir.expanduser())
        if self.reference_folder is not None:
            check_comparable(self.reference_folder, self.data.name)
        if self.train_on == "here" and (self.device == "gpu" or self.data_parallel):
            from gan.models.backend import use_device  # imports TensorFlow, for those who insist on a GPU

            use_device(self.device, data_parallel=self.data_parallel)
        if self.data_dir is not None and self.dataset in CATALOG:  # one's own was just described
            copy_verified(self.data, self.data_dir, target=None)
        return Store.open(self.output_dir, self.store_url or os.environ.get(STORE_URL_VARIABLE))
