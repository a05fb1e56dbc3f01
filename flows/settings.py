"""The options of a run: one model for the command line, for Prefect's Run form, and for the checks on both."""

import hashlib
import json
from collections.abc import Callable
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from cyclopts import Group, Parameter
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from flows.schedule import scheduled_day, seed_of
from flows.shared_options import (
    ALERT_VARIABLE,
    STORE_URL_VARIABLE,
    AlertBlock,
    OutputDir,
    UserPath,
    matching,
    store_url_or_default,
)
from gan.command import describe_validation
from gan.config import (
    DEFAULT_OUTPUT_DIR,
    BatchSize,
    DataConfig,
    Device,
    ExecutionConfig,
    NumSamples,
    RunConfig,
    RunContent,
    SampleConfig,
    Seed,
    Steps,
    TrainConfig,
    TrainOn,
)
from gan.data.catalog import CATALOG, FASHION_MNIST, Dataset
from gan.data.folder import describe_folder
from gan.errors import SettingsError, StoreError
from gan.option_values import override, parse_overrides
from gan.recipes import RECIPES, RecipeName
from gan.runs.publish import RUN_NAME
from gan.storage.file_system import check_is_text
from gan.storage.links import follow_link
from gan.storage.store import Store

DATASET_NAME = "[a-z0-9][a-z0-9-]{0,59}"
DATASET_NAMES = "1 to 60 lower-case letters, digits and dashes, with no dash first"
SMOKE_STEPS, SMOKE_SAMPLE_EVERY, SMOKE_NUM_SAMPLES = 200, 100, 1000
STEPS = "; ".join(f"{recipe.name}: {recipe.steps:,}" for recipe in RECIPES.values())

RUN, DATA, TRAINING, JUDGING, OUTPUT, SCHEDULE = (
    Parameter(group=Group(title, sort_key=place))
    for place, title in enumerate(("Run", "Data", "Training", "Judging", "Output and alerts", "Schedule"), 1)
)
"""Under which heading `--help` and docs/options.md show an option."""

OWN_OPTIONS = frozenset({"steps", "batch_size"})
"""Fields of a recipe's card that have an option. Only a sweep takes values of them in `set`."""


class RunSettings(BaseModel, frozen=True, extra="forbid"):
    """Options of a run, the most used first: forms show them in this order, and `--help` within each group.

    Each option's description says what an empty value means.
    """

    recipe: Annotated[RecipeName, RUN] = Field("article", description="training recipe; gan/recipes.py has the cards")
    smoke: Annotated[bool, RUN] = Field(
        False,
        description=f"quick test of all stages: {SMOKE_STEPS} steps and {SMOKE_NUM_SAMPLES:,} samples, unless set",
    )
    seed: Annotated[Seed | Literal["date"], RUN] = Field(
        0,
        description="seeds weights, batches and latents; equal seeds give equal runs on one device, except "
        "convolutional recipes on a GPU; date: the day that the run was scheduled for, as in 20261129, so that every "
        "night trains another generator",
    )
    run_name: Annotated[str | None, RUN] = Field(
        None,
        json_schema_extra={"pattern": f"^{RUN_NAME.pattern}$"},  # for the form; check_run_name has a better message
        description="name of the published run, up to 100 letters, digits, dots, dashes and underscores; "
        "empty: made from the settings",
    )
    steps: Annotated[Steps | None, RUN] = Field(
        None, description=f"iterations of the recipe's algorithm; empty: the recipe's own ({STEPS})"
    )
    dataset: Annotated[str, AfterValidator(matching(DATASET_NAME, DATASET_NAMES)), DATA] = Field(
        FASHION_MNIST.name,
        json_schema_extra={"pattern": f"^{DATASET_NAME}$"},
        description=f"name of the data set; your own data needs a data_dir, and a name of {DATASET_NAMES}",
    )
    data_dir: Annotated[UserPath | None, DATA] = Field(
        None,
        description="folder with the four files of the data set, .gz or unpacked; empty: an earlier download, "
        "the public mirrors, or Debian's package",
    )
    train_on: Annotated[TrainOn, TRAINING] = Field(
        "here",
        description="here: train in this process; gpu: train in a separate run on a GPU worker (make gpu-worker)",
    )
    set: Annotated[tuple[str, ...], TRAINING] = Field(
        (),
        description="hyperparameters of the recipe to change, each as name=value, such as learning_rate=1e-4; "
        "gan/recipe.py has the names",
    )
    batch_size: Annotated[BatchSize | None, TRAINING] = Field(
        None, description="images a step; empty: the recipe's own"
    )
    sample_every: Annotated[PositiveInt | None, TRAINING] = Field(
        None, description=f"steps between two sample grids; empty: 1,000, or {SMOKE_SAMPLE_EVERY} with --smoke"
    )
    num_samples: Annotated[NumSamples | None, JUDGING] = Field(
        None,
        description="images in samples.npz; the run is judged on these, or on as many as the test split has if that is "
        f"fewer; empty: 10,000, or {SMOKE_NUM_SAMPLES:,} with --smoke",
    )
    output_dir: Annotated[OutputDir, OUTPUT] = Field(
        DEFAULT_OUTPUT_DIR, description="folder for the store and the published runs"
    )
    compare_with: Annotated[str | None, JUDGING] = Field(
        None,
        description="earlier run to compare this run with: its name, or the folder of a published run; "
        "empty: the newest with the same training settings except seed and snapshots, else of the same recipe (first "
        "with as many steps and samples), else the latest; the first two are not broken ones",
    )
    no_promote: Annotated[bool, JUDGING] = Field(
        False,
        description="keep the present champion, even if this run beats it; the gate still decides, for the report",
    )
    device: Annotated[Device, TRAINING] = Field(
        "auto", description="auto: a GPU if there is one; gpu: a GPU, or an error if there is none"
    )
    worker_timeout: Annotated[PositiveInt, TRAINING] = Field(
        600, description="seconds to wait until a GPU worker starts the training, before this run fails"
    )
    store_url: Annotated[str | None, OUTPUT] = Field(
        None,
        description="object store that machines share, as in s3://bucket/prefix; empty: the value of the environment "
        f"variable {STORE_URL_VARIABLE}, or none",
    )
    refresh: Annotated[bool, RUN] = Field(
        False, description="run every stage again, even if it is cached; a training that was interrupted continues"
    )
    stop_on_collapse: Annotated[bool, TRAINING] = Field(
        False, description="end with an error in place of a warning of collapse"
    )
    tensorboard: Annotated[bool, TRAINING] = Field(
        False, description="write event files for TensorBoard below the output folder, unless training is cached"
    )
    alert_block: Annotated[AlertBlock, OUTPUT] = Field(
        None,
        validate_default=True,
        description="notification block of Prefect, as type/name, such as slack-webhook/team; it gets a message when a "
        "run fails or crashes, when a training shows signs of collapse, when a run needs a look (it is worse or less "
        "varied than usual, far from real, or broken), when the champion changes, and when the disk will be full "
        "within a week; "
        f"empty: ${ALERT_VARIABLE}, or no messages",
    )
    checkpoint_seconds: Annotated[float | None, TRAINING] = Field(
        None,
        ge=0,
        description="seconds between two checkpoints of a training; empty: 10, or more where saving would take more "
        "than 0.7 % of the time (2 % at the beginning)",
    )
    extractor_epochs: Annotated[PositiveInt | None, JUDGING] = Field(
        None,
        description="epochs of fitting the feature extractor on your own data; empty: 12, or more for a small set",
    )
    two_sample_epochs: Annotated[PositiveInt | None, JUDGING] = Field(
        None,
        description="epochs of training the network that separates generated from real images; empty: 3, or more for a "
        "small set",
    )

    @field_validator("data_dir", "compare_with", mode="before")
    @classmethod
    def _read_empty(cls, given: object) -> object:
        return None if given == "" else given  # as a form sends it

    @field_validator("data_dir", "compare_with", mode="after")
    @classmethod
    def _refuse_undecodable(cls, given: Path | str | None) -> Path | str | None:
        check_is_text(Path(given or ""))  # the store checks output_dir
        return given

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        try:
            self.with_seed(date.today).train_config()
        except ValidationError as error:
            raise ValueError(describe_validation(error)) from error
        if self.dataset not in CATALOG and self.data_dir is None:
            raise ValueError(
                f"--dataset {self.dataset} has no known source (known data sets: {', '.join(CATALOG)}).\n"
                "If it is your own, name the folder with its four files with --data-dir."
            )
        return self

    def with_seed(self, day: Callable[[], date] = scheduled_day) -> Self:
        """Return the settings with a number as the seed: that of `day`, which is asked only for `seed="date"`."""
        return self.model_copy(update={"seed": seed_of(day())}) if self.seed == "date" else self

    def with_absolute_folders(self) -> Self:
        """Return the settings with absolute folders, for a process that may have another working directory."""
        data_dir = self.data_dir and self.data_dir.absolute()
        return self.model_copy(update={"output_dir": self.output_dir.absolute(), "data_dir": data_dir})

    @cached_property
    def data(self) -> Dataset:
        """Return the data set, after reading the user's own data from its folder once; refuse invalid data."""
        if self.data_dir is None or self.dataset in CATALOG:
            return CATALOG[self.dataset]
        return describe_folder(self.dataset, self.data_dir)

    def train_config(self) -> TrainConfig:
        """Return the settings of the training stage."""
        recipe = override(RECIPES[self.recipe], self._card_changes())
        return TrainConfig(
            recipe=recipe,
            steps=self.steps or (SMOKE_STEPS if self.smoke else recipe.steps),
            batch_size=self.batch_size or recipe.batch_size,
            seed=self.seed,
            sample_every=self.sample_every or (SMOKE_SAMPLE_EVERY if self.smoke else 1000),
        )

    def _card_changes(self) -> dict[str, str]:
        changes = {}
        for name, values in parse_overrides(self.set).items():
            if len(values) > 1:
                raise SettingsError(
                    f"--set got {len(values)} values of {name}; a run has one. flows/sweep_flow.py tries several."
                )
            if name in OWN_OPTIONS:
                instead = f"--{name.replace('_', '-')} {values[0]}"
                raise SettingsError(f"--set got {name}={values[0]}; give {instead} instead.")
            changes[name] = values[0]
        return changes

    def execution(self) -> ExecutionConfig:
        """Return how the training is executed."""
        return ExecutionConfig.model_validate(self.model_dump(include=set(ExecutionConfig.model_fields)))

    def sample_config(self) -> SampleConfig:
        """Return the settings of the samples that the run is judged by."""
        num_images = self.num_samples or (SMOKE_NUM_SAMPLES if self.smoke else 10_000)
        return SampleConfig(num_images=num_images, seed=self.seed)

    def run_config(self) -> RunConfig:
        """Return the run under its given name, or under a default name that is made from its content.

        Raises:
            DataError: If the user's own data cannot be used.
            SettingsError: If `set` gives the recipe another number of classes than the data set has.
        """
        train, data = self._with_classes_of_data(self.train_config()), None
        if self.data != FASHION_MNIST:
            digests = {file.name: file.sha256 for file in self.data.files}
            data = DataConfig(name=self.data.name, class_names=self.data.class_names, sha256=digests)
        epochs = {
            "extractor_epochs": self.extractor_epochs if data else None,
            "two_sample_epochs": self.two_sample_epochs,
        }
        content = RunContent(train=train, samples=self.sample_config(), data=data, **epochs)
        digest = hashlib.sha256(json.dumps(content.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()
        default = f"{self.recipe}-{train.steps}-seed{self.seed}-{digest[:6]}"
        if data:
            default = f"{self.dataset[:40]}-{default}"
        return RunConfig(name=self.run_name or default, **dict(content))

    def _with_classes_of_data(self, train: TrainConfig) -> TrainConfig:
        recipe, num_classes = train.recipe, len(self.data.class_names)
        if recipe.num_classes in (0, num_classes):
            return train
        if "num_classes" in self._card_changes():
            raise SettingsError(
                f"--set got num_classes={recipe.num_classes}, but {self.dataset} has {num_classes} classes.\n"
                "Leave it out: a recipe with classes takes their number from the data."
            )
        return train.model_copy(update={"recipe": recipe.model_copy(update={"num_classes": num_classes})})

    @property
    def reference_folder(self) -> Path | None:
        """Return the folder of the run that `compare_with` names."""
        if self.compare_with is None:
            return None
        given = Path(self.compare_with)
        places = (self.output_dir / "runs" / given, self.output_dir / given, given)
        try:
            found = map(follow_link, places)
            return next((folder for folder in found if folder.is_dir()), given)
        except (OSError, StoreError, ValueError):
            return given  # not a path; reading it gives the error

    @property
    def run_label(self) -> str:
        """Return the flow run's name in the UI. It raises no error, which would leave the run pending for ever."""
        try:
            return self.with_seed().run_config().name
        except Exception:  # the run itself ends with this error
            return self.run_name or self.dataset

    def open_store(self) -> Store:
        """Open the store of the output folder; raise a `StoreError` if it cannot be used."""
        return Store.open(self.output_dir, store_url_or_default(self.store_url))
