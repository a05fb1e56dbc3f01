"""The trainings of a sweep, and the task runners that run them."""

import itertools
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Sequence, Set
from concurrent.futures import BrokenExecutor
from contextlib import AbstractContextManager
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
TRAININGS_PER_PROCESS = 16
"""Processes are replaced after so many trainings, because compiled programs keep about 90 MB for each."""

NOT_IN_A_SWEEP = {
    "recipe": "a sweep has --recipes",
    "seed": "a sweep has --seeds",
    "run_name": "a sweep names its runs itself",
    "compare_with": "a sweep compares its runs on a leaderboard",
    "refresh": "a sweep repeats nothing that is finished",
}


class SweepSettings(BaseModel):
    """The recipes and seeds of a sweep, and how it runs. All other options are those of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipes: str = Field("article,mlp", description="names of recipes, separated by commas")
    seeds: str = Field("0-2", description="seeds, as in 0-4 or 0,3,7-9; use at least three for a reliable figure")
    at_once: PositiveInt = Field(
        1, le=64, description="trainings at the same time: they share this machine's cores, or have a GPU worker each"
    )
    ray: str | None = Field(
        None,
        description="run on a Ray cluster: its address as host:port, or local for one on this machine only; "
        "each training reserves a GPU with --device gpu, and two cores otherwise",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.recipe_names()
        self.seed_numbers()
        return self

    def recipe_names(self) -> list[str]:
        """Return the names of the recipes without duplicates.

        Raises:
            SettingsError: If a name is unknown.
        """
        names = list(dict.fromkeys(name.strip() for name in self.recipes.split(",")))
        for name in names:
            if name not in RECIPES:
                raise SettingsError(f"--recipes got {name!r}; the recipes are {', '.join(RECIPES)}.")
        return names

    def seed_numbers(self) -> list[int]:
        """Return the seeds without duplicates.

        Raises:
            SettingsError: If they are not numbers and ranges, or too many.
        """
        seeds: dict[int, None] = {}
        for part in self.seeds.split(","):
            match = SEEDS.fullmatch(part.strip())
            first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
            got = f"--seeds got {self.seeds!r}"
            if not first <= last < SEED_LIMIT:
                raise SettingsError(f"{got}; it expects seeds as in 0-4 or 0,3,7-9, all below 2^31.")
            if last - first >= MAX_MEMBERS:
                raise SettingsError(f"{got}; a sweep has at most {MAX_MEMBERS} trainings. Give fewer seeds.")
            seeds.update(dict.fromkeys(range(first, last + 1)))
        return list(seeds)


class SharedSettings(RunSettings):
    """The options of all runs of a sweep. They are checked together with each recipe, in `members_of`."""

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        return self


class Member(BaseModel):
    """One training of a sweep."""

    model_config = ConfigDict(frozen=True)

    way: str = Field(description="recipe and changed numbers")
    settings: RunSettings


class Outcome(BaseModel):
    """The result of a training: a published run, or the reason why there is none."""

    model_config = ConfigDict(frozen=True)

    run: PublishedRun | None = None
    reason: str = ""


def members_of(sweep: SweepSettings, settings: SharedSettings) -> list[Member]:
    """Return a training for each combination of recipes, values and seeds.

    Args:
        sweep: The recipes and seeds.
        settings: The options of every run. A name in `set` may have several values, separated by commas.

    Raises:
        SettingsError: If there are too many trainings, or the settings of one are invalid.
    """
    by_name = parse_overrides(settings.set)
    _check_options(sweep, settings, by_name.keys())
    choices = [[(name, value) for value in values] for name, values in by_name.items()]
    num = len(sweep.recipe_names()) * len(sweep.seed_numbers()) * prod(map(len, choices))
    if num > MAX_MEMBERS:
        raise SettingsError(f"These are {num:,} trainings; a sweep has at most {MAX_MEMBERS}.")
    combinations = itertools.product(sweep.recipe_names(), itertools.product(*choices), sweep.seed_numbers())
    members = [_member(settings, *combination) for combination in combinations]
    runs = {member.settings.run_config().name: member for member in reversed(members)}  # keeps the first of equal runs
    return list(reversed(runs.values()))


def _check_options(sweep: SweepSettings, settings: SharedSettings, names_set: Set[str]) -> None:
    """Refuse options that are not for sweeps, or contradict each other."""
    if sweep.ray not in (None, "local") and PREFECT_API_URL.value() is None:
        raise SettingsError(
            f"--ray {sweep.ray} runs trainings on other machines, but PREFECT_API_URL is not set: they cannot reach "
            "the embedded server.\nStart a server (make server) they all reach, and set PREFECT_API_URL to its address."
        )
    if sweep.at_once > 1 and sweep.ray is None and settings.device != "cpu" and settings.train_on == "here":
        raise SettingsError(
            f"--at-once {sweep.at_once} with --device {settings.device} would train {sweep.at_once} at the same moment "
            "on one GPU, if this machine has any.\n"
            "Use --ray local --device gpu, which gives each training its own GPU; or --device cpu."
        )
    if sweep.ray is not None and sweep.at_once > 1:
        raise SettingsError("--at-once is for this machine; a Ray cluster (--ray) runs as many trainings as it can.")
    for name, instead in NOT_IN_A_SWEEP.items():
        value = getattr(settings, name)
        if name in settings.model_fields_set and value is not None and value is not False:  # unused in the Run form
            raise SettingsError(f"--{name.replace('_', '-')} is for one run; {instead}.")
    for name in OWN_OPTIONS & names_set:
        if getattr(settings, name) is not None:
            raise SettingsError(f"--{name.replace('_', '-')} and --set {name}=... say the same; give one of them.")


def _member(settings: SharedSettings, recipe: str, chosen: Sequence[tuple[str, str]], seed: int) -> Member:
    changes: dict[str, Any] = {name: value for name, value in chosen if name in OWN_OPTIONS}
    fixed = {
        "recipe": recipe,
        "seed": seed,
        "set": tuple(f"{name}={value}" for name, value in chosen if name not in OWN_OPTIONS),
        "no_promote": True,
        "store_url": settings.store_url or os.environ.get(STORE_URL_VARIABLE),  # other nodes may differ
        "output_dir": settings.output_dir.expanduser().absolute(),
        "data_dir": settings.data_dir and settings.data_dir.expanduser().absolute(),
    }
    way = " ".join([recipe, *(f"{name}={value}" for name, value in chosen)])
    try:
        return Member(way=way, settings=RunSettings.model_validate(settings.model_dump() | changes | fixed))
    except ValidationError as error:
        raise SettingsError(describe_validation(error)) from error


@task(name="member", task_run_name="{member.way}, seed {member.settings.seed}")
def run_member(member: Member) -> Outcome:
    """Run the whole pipeline for one training. Finished stages are taken from the cache."""
    try:
        with short_logs():
            return Outcome(run=train_flow(member.settings))
    except Exception as error:  # the other trainings continue, and this failure is reported
        return Outcome(reason=first_line(error))


def first_line(error: BaseException) -> str:
    """Describe a failure in one line."""
    text = str(error).partition("\n")[0]
    return text if isinstance(error, FashionGanError) else f"{type(error).__name__}: {text}"


def run_members(members: Sequence[Member], sweep: SweepSettings) -> list[Outcome]:
    """Run all trainings. A failure or a killed process does not affect the other trainings.

    When a process is killed, its whole pool breaks. The unfinished trainings are then run again in a new pool. If that
    breaks too, each of them gets its own pool.
    """
    outcomes: dict[int, Outcome | None] = dict.fromkeys(range(len(members)))
    most = TRAININGS_PER_PROCESS * sweep.at_once if sweep.ray is None else len(members)
    for size in (most, most, 1):
        left = [index for index, outcome in outcomes.items() if outcome is None]
        for indices in (left[start : start + size] for start in range(0, len(left), size)):
            outcomes |= zip(indices, _run_together([members[index] for index in indices], sweep), strict=True)
    return [outcome or Outcome(reason="Its process was killed, each time.") for outcome in outcomes.values()]


def _run_together(members: Sequence[Member], sweep: SweepSettings) -> list[Outcome | None]:
    """Return the outcomes; None for trainings whose pool of processes broke."""
    with _task_runner(sweep, members[0].settings) as runner:
        try:
            futures: list[PrefectFuture[Outcome]] = [runner.submit(run_member, {"member": each}) for each in members]
            return [_outcome(future) for future in futures]
        except BaseException:  # the sweep was stopped or cancelled: its trainings save a checkpoint, and end
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _outcome(future: PrefectFuture[Outcome]) -> Outcome | None:
    try:
        return future.result()
    except BrokenExecutor:
        return None
    except RunCancelledError:
        raise
    except Exception as error:  # a Ray worker that dies each time, a server that does not answer
        return Outcome(reason=first_line(error))


def _task_runner(sweep: SweepSettings, settings: RunSettings) -> AbstractContextManager[TaskRunner[Any]]:
    if sweep.ray is None:
        return ProcessPoolTaskRunner(sweep.at_once, initializer=end_with_parent, initargs=(os.getpid(),))
    return ray_cluster(sweep.ray, on_gpu=settings.device == "gpu")


def end_with_parent(parent: int) -> None:
    """End this process of a pool when its parent was killed. It would wait for work forever.

    Args:
        parent: Process ID of the sweep.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)  # a training saves a checkpoint
        time.sleep(SECONDS_TO_SAVE)
        os._exit(1)  # sys.exit would end this thread only

    threading.Thread(target=watch, daemon=True, name="end with parent").start()


def run_folder(member: Member, run: PublishedRun) -> Path:
    """Return the folder of a published run, after downloading it if another machine made it.

    Raises:
        StoreError: If the run is neither here nor in an object store.
    """
    store = Store.open(member.settings.output_dir, member.settings.store_url)
    download_run(store, run)
    if not all(store.is_local(ref) for ref in run.published):
        raise StoreError(f"It was published on a machine that does not share {store.root} with this one.")
    return store.root / "runs" / run.name
