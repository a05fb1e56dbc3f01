"""What a user can set: one model for the command line, the UI's Run form and the checks on both."""

import hashlib
import json
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError, model_validator

from gan.command import describe_validation
from gan.config import Conduct, Device, RunConfig, SampleConfig, TrainConfig
from gan.publishing import check_run_name
from gan.recipes import RECIPES, RecipeName
from gan.store import Store

SMOKE_STEPS, SMOKE_SAMPLE_EVERY, SMOKE_NUM_SAMPLES = 200, 100, 1000


class RunSettings(BaseModel):
    """Options of a run. What is left empty comes from the recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: RecipeName = Field("article", description="how to train; gan/recipes.py has the cards")
    steps: PositiveInt | None = Field(
        None, le=2**28, description="iterations of the recipe's algorithm; empty: the recipe's own (article: 10,001)"
    )
    batch_size: PositiveInt | None = Field(
        None, le=8192, description="images a step; empty: the recipe's own (article: 128)"
    )
    seed: NonNegativeInt = Field(
        0, lt=2**31, description="seeds weights, batches and latents; equal seeds give equal runs on the same device"
    )
    sample_every: PositiveInt | None = Field(None, description="steps between two sample grids; empty: 1,000")
    num_samples: PositiveInt | None = Field(
        None,
        ge=100,
        le=60_000,
        description="images in samples.npz; the run is judged by the first 10,000, as many as are in the test split; "
        "empty: 10,000",
    )
    data_dir: Path | None = Field(
        None,
        description="folder with the four files of Fashion-MNIST, .gz or unpacked; empty: an earlier download, "
        "the public mirrors, Debian's package",
    )
    output_dir: Path = Field(Path("artifacts"), description="folder for the store and the published runs")
    run_name: str | None = Field(None, description="name of the published run; empty: made from the settings")
    device: Device = Field("auto", description="auto: a GPU if there is one; gpu: insist on one")
    data_parallel: bool = Field(
        False, description="split each batch over all GPUs of this machine; slower for networks this small"
    )
    stop_on_collapse: bool = Field(False, description="end with an error where there would be a warning of collapse")
    tensorboard: bool = Field(
        False, description="write event files for TensorBoard below the output folder, when training is not cached"
    )
    refresh: bool = Field(
        False, description="run every stage again, whatever is cached; a training that was stopped half-way goes on"
    )
    smoke: bool = Field(
        False, description=f"a quick look at all stages: {SMOKE_STEPS} steps, {SMOKE_NUM_SAMPLES:,} samples, unless set"
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        try:
            self.train_config()
        except ValidationError as error:
            raise ValueError(describe_validation(error)) from error
        if self.data_parallel and self.device == "cpu":
            raise ValueError("--data-parallel splits a batch over GPUs; it cannot go with --device cpu.")
        return self

    def train_config(self) -> TrainConfig:
        """Settings of the training stage."""
        recipe = RECIPES[self.recipe]
        return TrainConfig(
            recipe=recipe,
            steps=self.steps or (SMOKE_STEPS if self.smoke else recipe.steps),
            batch_size=self.batch_size or recipe.batch_size,
            seed=self.seed,
            sample_every=self.sample_every or (SMOKE_SAMPLE_EVERY if self.smoke else 1000),
        )

    def conduct(self) -> Conduct:
        """How the training is carried out."""
        return Conduct(
            device=self.device,
            data_parallel=self.data_parallel,
            stop_on_collapse=self.stop_on_collapse,
            tensorboard=self.tensorboard,
        )

    def sample_config(self) -> SampleConfig:
        """Settings of the samples that the run is judged by."""
        return SampleConfig(
            num_images=self.num_samples or (SMOKE_NUM_SAMPLES if self.smoke else 10_000), seed=self.seed
        )

    def run_config(self) -> RunConfig:
        """The run, under its given or its default name."""
        train, samples = self.train_config(), self.sample_config()
        unnamed = RunConfig(name="", train=train, samples=samples)
        digest = hashlib.sha256(json.dumps(unnamed.content(), sort_keys=True).encode()).hexdigest()
        default = f"{self.recipe}-{train.steps}-seed{train.seed}-{digest[:6]}"
        return RunConfig(name=self.run_name or default, train=train, samples=samples)

    @property
    def run_label(self) -> str:
        """What the flow run is called in the UI."""
        return self.run_config().name

    def open_store(self) -> Store:
        """The store of the output folder, after checking all that can be checked before any work is done.

        Raises:
            StoreError: If the output folder cannot be written.
            SettingsError: If the run's name cannot be used.
            TrainingError: If a GPU is insisted on, and there is none.
            DataError: If `data_dir` is given and does not hold the original files.
        """
        run = self.run_config()
        check_run_name(self.output_dir.expanduser(), run.name, run.content())
        if self.device == "gpu" or self.data_parallel:
            from gan.backend import use_device  # imports TensorFlow, for those who insist on a GPU

            use_device(self.device, data_parallel=self.data_parallel)
        if self.data_dir is not None:
            from gan.datasets.catalog import FASHION_MNIST
            from gan.datasets.sources import copy_verified

            copy_verified(FASHION_MNIST, self.data_dir, target=None)
        return Store.open(self.output_dir)
