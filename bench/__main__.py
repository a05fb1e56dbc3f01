"""Compare the speed of training implementations: python -m bench --help.

Each contender runs in its own process. They take turns (A B C A B C ...), one at a time, so that other load on the
machine affects all of them equally. Only ratios within one run are comparable. They are medians over the rounds.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import IO, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from rich import box
from rich.table import Table

from bench import ON_GPU, STEPS_PER_CALL
from bench.contenders import RECIPE_PREFIX, contenders
from gan.command import new_app, print_table, run_command, terminal
from gan.config import DEFAULT_OUTPUT_DIR, PROJECT_ROOT
from gan.errors import FashionGanError
from gan.storage.files import atomic_path
from gan.storage.plain_json import to_json
from gan.system.environment import num_processors

OURS = "ours"
PEERS = "torch_", "jax_"
"""Beginnings of the names of contenders that need `make bench-peers`."""

FLOOR_PARTS = (
    {"matrix products": ("peak_products",), "Adam": ("peak_copies",)}
    if ON_GPU
    else {
        "matrix products": ("numpy_products", "torch_products", "xla_products"),
        "Adam": ("torch_adam", "xla_adam"),
    }
)
SECONDS_A_TURN = 0.5 if ON_GPU else 1.5
STARTED_AT_ONCE = max(1, num_processors() // 4) if ON_GPU else 1
"""Contenders that start at the same time, few enough that their compilations do not compete for the cores."""

console = terminal(stderr=True)


class BenchError(FashionGanError):
    """The benchmark has no result."""


@dataclass
class Contender:
    """A running contender and its measurements."""

    name: str
    title: str
    process: subprocess.Popen[str]
    stderr: IO[str]
    library: str = ""  # with its version
    device: str = ""
    start_seconds: float = 0.0  # from the start of the process to the end of the first step
    full_speed_seconds: float = 0.0  # from there to the end of the steps during which more programs are compiled
    steps_a_turn: int = 1
    milliseconds: list[float] = field(default_factory=list)  # per step, one value for each round

    def run(self, steps: int) -> float:
        """Let it train for a number of steps, and return the seconds it took.

        Raises:
            RuntimeError: If its process has ended.
        """
        assert self.process.stdin
        with suppress(BrokenPipeError):  # the process has ended: there is no answer
            self.process.stdin.write(f"{steps}\n")
            self.process.stdin.flush()
        return float(self.read_answer())

    def read_answer(self) -> str:
        """Return the next line of its output; raise RuntimeError if its process has ended."""
        assert self.process.stdout
        if answer := self.process.stdout.readline():
            return answer
        self.stderr.seek(0)
        raise RuntimeError((self.stderr.read().strip().splitlines() or ["no reason given"])[-1][:100])


def start(name: str, title: str) -> Contender | None:
    """Start a contender and run its first steps. If it cannot run here, print the reason and return None."""
    started = time.perf_counter()
    stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115  # stays open as long as the contender runs
    process = subprocess.Popen(
        [_interpreter(name), "-m", "bench.contenders", name],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        # all contenders are on one GPU at once: none may take all its memory (JAX: in bench/jax_peer.py)
        env=os.environ | {"TF_FORCE_GPU_ALLOW_GROWTH": "true"},
    )
    contender = Contender(name, title, process, stderr)
    try:
        contender.library, contender.device = json.loads(contender.read_answer())
        if name == OURS and ON_GPU and contender.device == "CPU":
            raise BenchError(
                "nvidia-smi lists a GPU, but TensorFlow does not use it.\n"
                "Run make setup-gpu; or measure the CPU: CUDA_VISIBLE_DEVICES=-1 make bench"
            )
        contender.run(1)
        contender.start_seconds = time.perf_counter() - started
        contender.full_speed_seconds = contender.run(2 * STEPS_PER_CALL - 1)  # compiles the programs for several steps
        per_multiple = contender.run(STEPS_PER_CALL)
        contender.steps_a_turn = STEPS_PER_CALL * max(1, round(SECONDS_A_TURN / per_multiple))
    except RuntimeError as error:
        console.print(f"left out: {title} ({error})")
        return None
    return contender


def _interpreter(name: str) -> str:
    """Return the Python that has the library of a contender: other frameworks have an environment of their own.

    Their CUDA libraries and TensorFlow's would overwrite each other in one environment.
    """
    peers = PROJECT_ROOT / ".venv-peers" / "bin" / "python"
    return str(peers) if name.startswith(PEERS) and peers.exists() else sys.executable


def measure_training() -> dict[str, Any]:
    """Return memory and timings of a whole training (bench.memory)."""
    command = [sys.executable, "-m", "bench.memory"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


app = new_app("bench", "Compare the speed of training with other implementations and with the limit of this machine.")


@app.default
def bench(
    *,
    rounds: Annotated[int, Parameter(validator=Number(gte=1))] = 9,
    memory: bool = True,
    out: Path = DEFAULT_OUTPUT_DIR / "bench.json",
) -> None:
    """Compare the speed of training with other implementations and with the limit of this machine.

    Args:
        rounds: Number of turns of each contender.
        memory: Also run a whole training, and measure its memory and the time for checkpoints.
        out: JSON file for the figures.
    """
    titles = {name: (make.__doc__ or name).partition("\n")[0].rstrip(".") for name, make in contenders().items()}
    console.print(f"starting {', '.join(titles.values())}")
    with ThreadPoolExecutor(STARTED_AT_ONCE) as pool:
        running = [contender for contender in pool.map(start, *zip(*titles.items(), strict=True)) if contender]
    for number in range(rounds):
        console.print(f"round {number + 1} of {rounds}")
        for contender in list(running):
            steps = contender.steps_a_turn
            try:
                contender.milliseconds.append(1000 * contender.run(steps) / steps)
            except RuntimeError as error:
                console.print(f"left out: {contender.title} ({error})")
                running.remove(contender)
    for contender in running:
        contender.process.communicate()
    result = summarize(running)
    if memory:
        console.print("running a whole training, to measure its memory")
        try:
            result["training"] = measure_training()
        except subprocess.CalledProcessError as error:
            console.print(f"left out: the whole training ({(error.stderr.strip().splitlines() or [error])[-1]})")
    with atomic_path(out) as partial:
        partial.write_text(to_json(result) + "\n", encoding="utf-8")
    show(result)
    terminal().print(f"\nFigures: {out}")


def summarize(running: list[Contender]) -> dict[str, Any]:
    """Return medians over the rounds. Ratios are computed within each round first.

    Raises:
        BenchError: If our implementation, or every library for a part of the floor, did not run.
    """
    by_name = {contender.name: contender for contender in running}
    missing = [names for names in ((OURS,), *FLOOR_PARTS.values()) if not any(name in by_name for name in names)]
    if missing:
        raise BenchError(
            f"Nothing can be compared: {' and '.join(missing[0])} did not run.\n"
            "To see the reason, run python -m bench.contenders NAME, and type a number of steps."
        )
    mine = by_name[OURS].milliseconds
    rows = {}
    for contender in running:
        rows[contender.name] = {
            "title": contender.title,
            "library": contender.library,
            "device": contender.device,
            "milliseconds_per_step": round(median(contender.milliseconds), 4),
            "times_ours": round(median(x / y for x, y in zip(contender.milliseconds, mine, strict=True)), 3),
            "start_seconds": round(contender.start_seconds, 2),
            "full_speed_seconds": round(contender.full_speed_seconds, 2),
            "rounds": [round(value, 4) for value in contender.milliseconds],
        }
    floor = {}
    for part, names in FLOOR_PARTS.items():
        fastest = min((by_name[name] for name in names if name in by_name), key=lambda c: median(c.milliseconds))
        floor[part] = fastest.name
    both = [sum(values) for values in zip(*(by_name[name].milliseconds for name in floor.values()), strict=True)]
    return {
        "contenders": rows,
        "floor": {
            "parts": floor,
            "milliseconds_per_step": round(median(both), 4),
            "ours_times_floor": round(median(x / y for x, y in zip(mine, both, strict=True)), 3),
        },
        "cores": os.cpu_count(),
    }


def show(result: dict[str, Any]) -> None:
    """Print the figures as a table."""
    table = Table("One iteration (of article, batch 128, unless named)", box=box.SIMPLE_HEAD)
    table.add_column("device", no_wrap=True)
    for heading in ("ms", "times ours", "start-up, s", "full speed, s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, row in result["contenders"].items():
        table.add_row(
            row["title"],
            row["device"],
            f"{row['milliseconds_per_step']:#.3g}",
            "" if name.startswith(RECIPE_PREFIX) else f"{row['times_ours']:.2f}",
            f"{row['start_seconds']:.1f}",
            f"{row['full_speed_seconds']:.1f}",
        )
    floor = result["floor"]
    table.add_row(
        f"Floor: {' + '.join(floor['parts'].values())}",
        "",
        f"{floor['milliseconds_per_step']:#.3g}",
        f"{1 / floor['ours_times_floor']:.2f}",
        "",
        "",
    )
    output = terminal()
    print_table(output, table)
    output.print(
        f"start-up: from the start of the process to the end of its first step; "
        f"full speed: the {2 * STEPS_PER_CALL - 1} steps after it; {STARTED_AT_ONCE} at a time"
    )
    output.print(f"ours is {floor['ours_times_floor']:.2f} times the floor")
    if "training" in result:
        for steps, held in result["training"]["resident_bytes"].items():
            output.print(f"resident memory after {int(steps):,} steps: {held / 1e9:.3f} GB")
        facts = result["training"]["facts"]
        share = facts["checkpoint_seconds"] / facts["training_seconds"]
        output.print(f"a whole training: {facts['training_seconds']} s, checkpoints {share:.2%} of it")


if __name__ == "__main__":
    run_command(app)
