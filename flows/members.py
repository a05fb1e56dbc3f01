"""The trainings of a sweep: which there are, and on what they run."""

import itertools
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import BrokenExecutor
from contextlib import AbstractContextManager, contextmanager
from math import prod
from pathlib import Path
from typing import Any, Self

from prefect import task
from prefect.futures import PrefectFuture
from prefect.settings import PREFECT_API_URL
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from flows.cluster import ray_cluster
from flows.server.cancellation import RunCancelledError
from flows.server.session import short_logs
from flows.settings import OWN_OPTIONS, SEED_LIMIT, STORE_URL_VARIABLE, RunSettings
from flows.train_flow import train_flow
from gan.command import describe_validation
from gan.errors import FashionGanError, SettingsError, StoreError
from gan.recipes import RECIPES, parse_overrides
from gan.storage.store import Store
from tasks.publish import download_run
from tasks.records import PublishedRun

MAX_MEMBERS = 500
SEEDS = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")
SECONDS_TO_SAVE = 60
TRAININGS_A_PROCESS = 16
"""Before the pool is made anew: what XLA has compiled stays in a process, about 90 MB a training."""

OF_ONE_RUN = {
    "recipe": "a sweep has --recipes",
    "seed": "a sweep has --seeds",
    "run_name": "a sweep names its runs by itself",
    "compare_with": "a sweep compares its runs on a leaderboard",
    "refresh": "a sweep does nothing again that is finished",
}


class SweepSettings(BaseModel):
    """What a sweep tries; all other options are those of a run, and hold for each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipes: str = Field("article,mlp", description="names of recipes, with commas between")
    seeds: str = Field("0-2", description="seeds, as in 0-4 or 0,3,7-9; a figure is worth something from three on")
    at_once: PositiveInt = Field(
        1, le=64, description="trainings at the same moment: they share this machine's cores, or have a GPU worker each"
    )
    ray: str | None = Field(
        None,
        description="run on a Ray cluster: its address as host:port, or local for one of this machine's own; "
        "a training gets a GPU of it with --device gpu, else it is counted as two cores",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.recipe_names()
        self.seed_numbers()
        return self

    def recipe_names(self) -> list[str]:
        """Names of the recipes, each once.

        Raises:
            SettingsError: If one is unknown.
        """
        names = list(dict.fromkeys(name.strip() for name in self.recipes.split(",")))
        for name in names:
            if name not in RECIPES:
                raise SettingsError(f"--recipes got {name!r}; the recipes are {', '.join(RECIPES)}.")
        return names

    def seed_numbers(self) -> list[int]:
        """The seeds, each once.

        Raises:
            SettingsError: If they are not written as numbers and ranges, or are too many.
        """
        seeds: dict[int, None] = {}
        for part in self.seeds.split(","):
            match = SEEDS.fullmatch(part.strip())
            first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
            if not first <= last < SEED_LIMIT:
                raise SettingsError(
                    f"--seeds got {self.seeds!r}; it expects seeds as in 0-4 or 0,3,7-9, all below 2^31."
                )
            if last - first >= MAX_MEMBERS:
                raise SettingsError(
                    f"--seeds got {self.seeds!r}; a sweep has at most {MAX_MEMBERS} trainings. Give fewer seeds."
                )
            seeds.update(dict.fromkeys(range(first, last + 1)))
        return list(seeds)


class SharedSettings(RunSettings):
    """Options of all runs of a sweep; those of each are checked with its recipe, on whose card `set` is to be."""

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        return self


class Member(BaseModel):
    """One training of a sweep."""

    model_config = ConfigDict(frozen=True)

    way: str = Field(description="recipe, and what was set otherwise")
    settings: RunSettings


class Outcome(BaseModel):
    """What became of it: a published run, or why not."""

    model_config = ConfigDict(frozen=True)

    run: PublishedRun | None = None
    reason: str = ""


def members_of(sweep: SweepSettings, settings: SharedSettings) -> list[Member]:
    """Every combination of recipes, values and seeds.

    Args:
        sweep: What is tried.
        settings: Options of every run; several values in `set` have commas between.

    Raises:
        SettingsError: If there are too many, or one cannot be.
    """
    by_name = parse_overrides(settings.set)
    _refuse(sweep, settings, by_name.keys())
    choices = [[(name, value) for value in values] for name, values in by_name.items()]
    num = len(sweep.recipe_names()) * len(sweep.seed_numbers()) * prod(map(len, choices))
    if num > MAX_MEMBERS:
        raise SettingsError(f"These are {num:,} trainings; a sweep has at most {MAX_MEMBERS}.")
    members = [
        _member(settings, recipe, chosen, seed)
        for recipe, chosen, seed in itertools.product(
            sweep.recipe_names(), itertools.product(*choices), sweep.seed_numbers()
        )
    ]
    runs = {member.settings.run_config().name: member for member in reversed(members)}  # of equal ones the first
    return list(reversed(runs.values()))


def _refuse(sweep: SweepSettings, settings: SharedSettings, names_set: Set[str]) -> None:
    """Options that do not go together in a sweep."""
    if sweep.ray not in (None, "local") and PREFECT_API_URL.value() is None:
        raise SettingsError(
            f"--ray {sweep.ray} runs trainings on other machines, but PREFECT_API_URL is not set: they cannot reach "
            "the embedded server.\nStart a server (make server) that all reach, and set PREFECT_API_URL to it."
        )
    if sweep.at_once > 1 and sweep.ray is None and settings.device != "cpu" and settings.train_on == "here":
        raise SettingsError(
            f"--at-once {sweep.at_once} with --device {settings.device} would train {sweep.at_once} at the same moment "
            "on one GPU, if this machine has any.\n"
            "Give --ray local --device gpu, which gives each training a GPU of its own; or --device cpu."
        )
    if sweep.ray is not None and sweep.at_once > 1:
        raise SettingsError("--at-once is for this machine; on a Ray cluster (--ray) as many train as it has room for.")
    if sweep.ray is not None and settings.data_parallel:
        raise SettingsError("--data-parallel splits a training over GPUs; with --ray each training has one of them.")
    for name, instead in OF_ONE_RUN.items():
        value = getattr(settings, name)
        if name in settings.model_fields_set and value is not None and value is not False:  # as a form leaves it empty
            raise SettingsError(f"--{name.replace('_', '-')} is for one run; {instead}.")
    for name in OWN_OPTIONS & names_set:
        if getattr(settings, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise SettingsError(f"{option} and --set {name}=... say the same; give one of them.")


def _member(settings: SharedSettings, recipe: str, chosen: Sequence[tuple[str, str]], seed: int) -> Member:
    """One training: the options of all, with a recipe, chosen values and a seed."""
    changes: dict[str, Any] = {name: value for name, value in chosen if name in OWN_OPTIONS}
    fixed = {
        "recipe": recipe,
        "seed": seed,
        "set": tuple(f"{name}={value}" for name, value in chosen if name not in OWN_OPTIONS),
        "no_promote": True,
        "store_url": settings.store_url or os.environ.get(STORE_URL_VARIABLE),  # a node's may be another
        "output_dir": settings.output_dir.expanduser().absolute(),
        "data_dir": settings.data_dir and settings.data_dir.expanduser().absolute(),
    }
    way = " ".join([recipe, *(f"{name}={value}" for name, value in chosen)])
    return Member(way=way, settings=_validated(settings.model_dump() | changes | fixed))


def _validated(content: dict[str, Any]) -> RunSettings:
    try:
        return RunSettings.model_validate(content)
    except ValidationError as error:
        raise SettingsError(describe_validation(error)) from error


@task(name="member", task_run_name="{member.way}, seed {member.settings.seed}")
def run_member(member: Member) -> Outcome:
    """Run the whole pipeline for one training. What is finished is cached, so that it is never done again."""
    try:
        with short_logs():
            return Outcome(run=train_flow(member.settings))
    except Exception as error:  # the others go on, and this one is named
        return Outcome(reason=first_line(error))


def first_line(error: BaseException) -> str:
    """What is said of a failure where there is room for a line."""
    text = str(error).partition("\n")[0]
    return text if isinstance(error, FashionGanError) else f"{type(error).__name__}: {text}"


def run_members(members: Sequence[Member], sweep: SweepSettings) -> list[Outcome]:
    """Run all of them; one that fails, or whose process is killed, does not sink the rest.

    A process that dies takes its pool along. Those that it kept from their end are run again together, and, if the pool
    dies again, each in a pool of its own, where one that dies is the only one that fails.
    """
    outcomes: dict[int, Outcome | None] = dict.fromkeys(range(len(members)))
    most = TRAININGS_A_PROCESS * sweep.at_once if sweep.ray is None else len(members)
    for size in (most, most, 1):
        left = [index for index, outcome in outcomes.items() if outcome is None]
        for indices in (left[start : start + size] for start in range(0, len(left), size)):
            outcomes |= zip(indices, _run_together([members[index] for index in indices], sweep), strict=True)
    return [outcome or Outcome(reason="Its process was killed, each time.") for outcome in outcomes.values()]


def _run_together(members: Sequence[Member], sweep: SweepSettings) -> list[Outcome | None]:
    """Outcomes; None for those whose pool of processes broke."""
    with _engine(sweep, on_gpu=members[0].settings.device == "gpu") as runner, _children_end_with_errors():
        futures: list[PrefectFuture[Outcome]] = [runner.submit(run_member, {"member": member}) for member in members]
        return [_outcome(future) for future in futures]


def _outcome(future: PrefectFuture[Outcome]) -> Outcome | None:
    try:
        return future.result()
    except BrokenExecutor:
        return None
    except RunCancelledError:
        raise
    except Exception as error:  # a Ray worker that dies each time, a server that was away: the others go on
        return Outcome(reason=first_line(error))


@contextmanager
def _children_end_with_errors() -> Iterator[None]:
    """A sweep that is stopped or cancelled does not wait for trainings to end: they save a checkpoint, and end."""
    try:
        yield
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()
        raise


def _engine(sweep: SweepSettings, *, on_gpu: bool) -> AbstractContextManager[TaskRunner[Any]]:
    """Prefect's process pool on this machine, or a Ray cluster."""
    if sweep.ray is None:
        return ProcessPoolTaskRunner(sweep.at_once, initializer=end_with_parent, initargs=(os.getpid(),))
    return ray_cluster(sweep.ray, on_gpu=on_gpu)


def end_with_parent(parent: int) -> None:
    """In a process of the pool: save and end when the sweep was killed; it would wait for work for ever.

    Args:
        parent: The sweep's process.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)  # a training saves a checkpoint
        time.sleep(SECONDS_TO_SAVE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with parent").start()


def run_folder(member: Member, run: PublishedRun) -> Path:
    """Where a published run lies; one that another machine has made is brought here from the object store.

    Raises:
        StoreError: If it cannot be had here.
    """
    store = Store.open(member.settings.output_dir, member.settings.store_url)
    download_run(store, run)
    if not all(store.is_here(ref) for ref in run.published):
        raise StoreError(f"It was published on a machine that does not share {store.root} with this one.")
    return store.root / "runs" / run.name
