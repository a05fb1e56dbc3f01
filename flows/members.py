"""The trainings of a sweep, and the task runners that run them."""

import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import BrokenExecutor
from contextlib import AbstractContextManager
from datetime import date
from math import prod
from pathlib import Path
from typing import Annotated, Any, Self

from cyclopts import Parameter
from prefect import task
from prefect.exceptions import FailedRun
from prefect.futures import PrefectFuture
from prefect.settings import PREFECT_API_URL
from prefect.states import Failed, State
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from flows.cluster import ray_cluster
from flows.schedule import scheduled_day, seeds_of
from flows.server.cancellation import RunCancelledError
from flows.server.session import short_logs
from flows.settings import OWN_OPTIONS, RUN, TRAINING, RunSettings
from flows.shared_options import store_url_or_default
from flows.train_flow import train_flow
from gan.command import describe_validation
from gan.errors import FashionGanError, SettingsError, StoreError, describe_error, first_line
from gan.option_values import parse_overrides, parse_seeds
from gan.recipes import RECIPES
from gan.storage.store import Store
from tasks.published import download_run
from tasks.records import PublishedRun
from tasks.stage import key_conditions, use_key_conditions

MAX_MEMBERS = 500
SECONDS_TO_SAVE = 60
TRAININGS_PER_PROCESS = 16  # then a new process: compiled programs keep about 90 MB for each training

NOT_IN_A_SWEEP = {
    "recipe": "a sweep has --recipes",
    "seed": "a sweep has --seeds",
    "run_name": "a sweep names its runs itself",
    "compare_with": "a sweep compares its runs on a leaderboard",
    "refresh": "a sweep repeats nothing that is finished",
}


class SweepSettings(BaseModel, frozen=True, extra="forbid"):
    """The recipes and seeds of a sweep, and how it runs. All other options are those of a run."""

    recipes: Annotated[str, RUN] = Field("article,mlp", description="names of recipes, separated by commas")
    seeds: Annotated[str, RUN] = Field(
        "0-2",
        description="seeds, as in 0-4 or 0,3,7-9; use at least three for a reliable figure; date: three that are made "
        "from the day that the sweep was scheduled for",
    )
    at_once: Annotated[PositiveInt, TRAINING] = Field(
        1, le=64, description="trainings at the same time: they share this machine's cores, or have a GPU worker each"
    )
    ray: Annotated[str | None, TRAINING] = Field(
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
        """Return the names of the recipes without duplicates; refuse unknown names (`SettingsError`)."""
        names = list(dict.fromkeys(name.strip() for name in self.recipes.split(",")))
        for name in names:
            if name not in RECIPES:
                raise SettingsError(f"--recipes got {name!r}; the recipes are {', '.join(RECIPES)}.")
        return names

    def with_seeds(self, day: Callable[[], date] = scheduled_day) -> Self:
        """Return the settings with numbers as seeds: those of `day`, which is asked only for `seeds="date"`."""
        return self.model_copy(update={"seeds": seeds_of(day())}) if self.seeds == "date" else self

    def seed_numbers(self) -> list[int]:
        """Return the seeds without duplicates; refuse invalid ranges, and too many seeds (`SettingsError`)."""
        return parse_seeds(self.with_seeds(date.today).seeds, most=MAX_MEMBERS)


def _leave_out(properties: dict[str, Any]) -> None:
    for name in NOT_IN_A_SWEEP:
        del properties[name]


class SharedSettings(RunSettings):
    """The options that all runs of a sweep share. `members_of` checks them together with each recipe.

    A sweep refuses those of `NOT_IN_A_SWEEP`. Its `--help` and its Run form, which sends every field that it shows,
    leave them out.
    """

    model_config = ConfigDict(json_schema_extra=lambda schema: _leave_out(schema["properties"]))

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        return self


for _name in NOT_IN_A_SWEEP:  # `--help` does not show what a sweep refuses
    _field = SharedSettings.model_fields[_name]
    _field.metadata = [*_field.metadata, Parameter(show=False)]


class Member(BaseModel, frozen=True):
    """One training of a sweep."""

    variant: str = Field(description="recipe, and the hyperparameters that were changed")
    settings: RunSettings

    @property
    def seed(self) -> int:
        """The seed, which in a sweep is always a number."""
        return int(self.settings.seed)


class Outcome(BaseModel, frozen=True):
    """The result of a training: a published run, or the reason why there is none."""

    run: PublishedRun | None = None
    reason: str = ""


def members_of(sweep: SweepSettings, settings: SharedSettings) -> list[Member]:
    """Return a training for each combination of recipes, values in `settings.set`, and seeds.

    Raises:
        SettingsError: If there are too many trainings, or the settings of one are invalid.
    """
    by_name = parse_overrides(settings.set)
    _check_options(sweep, settings, by_name.keys())
    recipes, seeds = sweep.recipe_names(), sweep.seed_numbers()
    num = len(recipes) * len(seeds) * prod(map(len, by_name.values()))
    if num > MAX_MEMBERS:
        raise SettingsError(f"These are {num:,} trainings; a sweep has at most {MAX_MEMBERS}.")
    choices = [dict(zip(by_name, values, strict=True)) for values in itertools.product(*by_name.values())]
    members = [_member(settings, *combination) for combination in itertools.product(recipes, choices, seeds)]
    configs = [member.settings.run_config() for member in members]
    names = {config.content().model_dump_json(): config.name for config in configs}
    if len({*names.values()}) < len(names):  # names have a digest of 24 bits
        raise SettingsError("Two of these trainings would have one name by chance. Change the last digit of a value.")
    runs: dict[str, Member] = {}
    for config, member in zip(configs, members, strict=True):
        runs.setdefault(config.name, member)  # the first of equal runs
    return list(runs.values())


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
            "Use --ray local --device gpu, which gives each training a separate GPU; or --device cpu."
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


def _member(settings: SharedSettings, recipe: str, chosen: Mapping[str, str], seed: int) -> Member:
    changes = {name: chosen[name] for name in OWN_OPTIONS & chosen.keys()} | {
        "recipe": recipe,
        "seed": seed,
        "set": tuple(f"{name}={value}" for name, value in chosen.items() if name not in OWN_OPTIONS),
        "no_promote": True,
        "store_url": store_url_or_default(settings.store_url),  # other nodes may differ
    }
    variant = " ".join([recipe, *(f"{name}={value}" for name, value in chosen.items())])
    try:
        return Member(
            variant=variant,
            settings=RunSettings.model_validate(settings.with_absolute_folders().model_dump() | changes),
        )
    except ValidationError as error:
        raise SettingsError(describe_validation(error)) from error


@task(name="member", task_run_name="{member.variant}, seed {member.settings.seed}")
def run_member(member: Member, conditions: str) -> Outcome | State[Outcome]:
    """Run the whole pipeline for one training. Finished stages are taken from the cache.

    Args:
        member: The training.
        conditions: `key_conditions()` of the machine that started the sweep. With equal keys that machine finds the
            results when it judges the winner by the gate.

    Returns:
        A Failed state with the reason, in place of an error, which would also put a traceback into the log.
    """
    try:
        with short_logs(), use_key_conditions(conditions):
            return Outcome(run=train_flow(member.settings))
    except Exception as error:  # the other trainings continue, and this failure is reported
        return Failed(message=describe_failure(error))


def describe_failure(error: BaseException) -> str:
    """Describe the failure of a training in one line."""
    return first_line(error) if isinstance(error, FashionGanError) else describe_error(error)


def run_members(members: Sequence[Member], sweep: SweepSettings) -> list[Outcome]:
    """Run all trainings. A failure or a killed process does not affect the other trainings.

    When a process is killed, its whole pool breaks. The unfinished trainings are then run again in a new pool. If that
    breaks too, each of them gets a separate pool.
    """
    outcomes: dict[int, Outcome | None] = dict.fromkeys(range(len(members)))
    most = TRAININGS_PER_PROCESS * sweep.at_once if sweep.ray is None else len(members)
    for size in (most, most, 1):
        left = [index for index, outcome in outcomes.items() if outcome is None]
        for indices in (left[start : start + size] for start in range(0, len(left), size)):
            outcomes |= zip(indices, _run_together([members[index] for index in indices], sweep), strict=True)
    return [outcome or Outcome(reason="Its process was killed every time.") for outcome in outcomes.values()]


def _run_together(members: Sequence[Member], sweep: SweepSettings) -> list[Outcome | None]:
    """Return the outcomes; None for trainings whose pool of processes broke."""
    runners: AbstractContextManager[TaskRunner[Any]] = (
        ProcessPoolTaskRunner(sweep.at_once, initializer=end_with_parent, initargs=(os.getpid(),))
        if sweep.ray is None
        else ray_cluster(sweep.ray, on_gpu=members[0].settings.device == "gpu")
    )
    with runners as runner:
        try:
            conditions = key_conditions()
            futures: list[PrefectFuture[Outcome]] = [
                runner.submit(run_member, {"member": each, "conditions": conditions}) for each in members
            ]
            return [_outcome(future) for future in futures]
        except BaseException:  # the sweep was stopped or cancelled: its trainings save a checkpoint, and end
            for child in multiprocessing.active_children():
                child.terminate()
            # Prefect's queue of messages: a child that ended while it wrote would let this process wait for ever.
            if (queue := getattr(runner, "_subprocess_message_queue", None)) is not None:
                queue.cancel_join_thread()
            raise


def _outcome(future: PrefectFuture[Outcome]) -> Outcome | None:
    try:
        return future.result()
    except BrokenExecutor:
        return None
    except FailedRun as failed:
        return Outcome(reason=str(failed))
    except RunCancelledError:
        raise
    except Exception as error:  # a Ray worker that dies each time, a server that does not answer
        return Outcome(reason=describe_failure(error))


def end_with_parent(parent: int) -> None:
    """End this process of a pool when the parent process was killed. Otherwise it would wait for work forever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)  # a training saves a checkpoint
        time.sleep(SECONDS_TO_SAVE)
        os._exit(1)  # sys.exit would end this thread only

    threading.Thread(target=watch, daemon=True, name="end with parent").start()


def run_folder(member: Member, run: PublishedRun) -> Path:
    """Return the folder of a published run, downloaded from the object store if another machine made it."""
    store = Store.open(member.settings.output_dir, member.settings.store_url)
    download_run(store, run)
    if not all(store.is_local(ref) for ref in run.published):
        raise StoreError(f"It was published on a machine that does not share {store.root} with this one.")
    return store.root / "runs" / run.name
