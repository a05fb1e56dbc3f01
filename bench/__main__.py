"""Measure training in one run: python -m bench --help.

Every contender is a process of its own; they take turns (A B C A B C ...), one at a time, so that whatever else the
machine does falls on all alike. Only ratios within one run mean something; they are medians over the rounds.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich import box
from rich.console import Console
from rich.table import Table

from bench.contenders import contenders
from gan.command import run_command
from gan.store import atomic_path

OURS = "ours"
FLOOR_PARTS = {
    "matrix products": ("numpy_products", "torch_products", "xla_products"),
    "Adam": ("torch_adam", "xla_adam"),
}
SECONDS_A_TURN = 1.5
MULTIPLE = 8  # the steps of a turn are a multiple of all that is done in one call, or every so many steps

console = Console(stderr=True, highlight=False)


@dataclass
class Contender:
    """A running contender and what was measured of it."""

    name: str
    title: str
    process: subprocess.Popen[str]
    start_seconds: float = 0.0  # from the start of the process to the end of the first step
    first_step_seconds: float = 0.0
    steps_a_turn: int = 1
    milliseconds: list[float] = field(default_factory=list)  # a step, one value a round
    resident_bytes: int = 0

    def run(self, steps: int) -> float:
        """Let it train; seconds.

        Raises:
            RuntimeError: If it ended instead.
        """
        assert self.process.stdin
        assert self.process.stdout
        try:
            self.process.stdin.write(f"{steps}\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RuntimeError(f"{self.name} ended")
        measured = json.loads(answer)
        self.resident_bytes = measured["resident_bytes"]
        return float(measured["seconds"])


def start(name: str, title: str) -> Contender | None:
    """Start a contender and let it do its first steps; None, with the reason shown, if it cannot run here."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.contenders", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "0"},
    )
    contender = Contender(name, title, process)
    try:
        contender.first_step_seconds = contender.run(1)
        contender.start_seconds = time.perf_counter() - began
        contender.run(2 * MULTIPLE - 1)  # whatever is compiled only for several steps
        per_multiple = contender.run(MULTIPLE)
        contender.steps_a_turn = MULTIPLE * max(1, round(SECONDS_A_TURN / per_multiple))
    except RuntimeError:
        _, complaints = process.communicate()
        reason = (complaints.strip().splitlines() or ["no reason given"])[-1]
        console.print(f"left out: {title} ({reason[:100]})")
        return None
    return contender


def measure_training() -> dict[str, Any]:
    """Memory of a whole training after so many steps, and its own timings."""
    command = [sys.executable, "-m", "bench.memory"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


app = App(name="python -m bench", help="Measure training against its peers and the machine's limit.", version_flags=())


@app.default
def bench(
    *,
    rounds: Annotated[int, Parameter(validator=Number(gte=1))] = 9,
    memory: bool = True,
    out: Path = Path("artifacts/bench.json"),
) -> None:
    """Measure training against its peers and the machine's limit.

    Parameters
    ----------
    rounds
        Turns of every contender.
    memory
        Also do a whole training, and look at its memory and the time that checkpoints take.
    out
        JSON file for the figures.
    """
    running = []
    for name, make in contenders().items():
        title = (make.__doc__ or name).partition("\n")[0].rstrip(".")
        console.print(f"starting {title}")
        if contender := start(name, title):
            running.append(contender)
    for number in range(rounds):
        console.print(f"round {number + 1} of {rounds}")
        for contender in running:
            steps = contender.steps_a_turn
            contender.milliseconds.append(1000 * contender.run(steps) / steps)
    for contender in running:
        contender.process.communicate()
    result = summarize(running)
    if memory:
        console.print("a whole training, for its memory")
        result["training"] = measure_training()
    with atomic_path(out) as partial:
        partial.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    show(result)
    Console(highlight=False, soft_wrap=True).print(f"\nFigures: {out}")


def summarize(running: list[Contender]) -> dict[str, Any]:
    """Medians over the rounds; ratios are taken within a round first."""
    by_name = {contender.name: contender for contender in running}
    mine = by_name[OURS].milliseconds
    rows = {}
    for contender in running:
        rows[contender.name] = {
            "title": contender.title,
            "milliseconds_per_step": round(median(contender.milliseconds), 2),
            "times_ours": round(median(x / y for x, y in zip(contender.milliseconds, mine, strict=True)), 3),
            "start_seconds": round(contender.start_seconds, 2),
            "first_step_seconds": round(contender.first_step_seconds, 2),
            "rounds": [round(value, 2) for value in contender.milliseconds],
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
            "milliseconds_per_step": round(median(both), 2),
            "ours_times_floor": round(median(x / y for x, y in zip(mine, both, strict=True)), 3),
        },
        "cores": os.cpu_count(),
    }


def show(result: dict[str, Any]) -> None:
    """The figures as a table."""
    table = Table("One iteration of article, batch 128", box=box.SIMPLE_HEAD)
    for heading in ("ms", "times ours", "start-up, s", "first step, s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in result["contenders"].values():
        table.add_row(
            row["title"],
            f"{row['milliseconds_per_step']:.1f}",
            f"{row['times_ours']:.2f}",
            f"{row['start_seconds']:.1f}",
            f"{row['first_step_seconds']:.1f}",
        )
    floor = result["floor"]
    table.add_row(
        f"Floor: {' + '.join(floor['parts'].values())}",
        f"{floor['milliseconds_per_step']:.1f}",
        f"{1 / floor['ours_times_floor']:.2f}",
        "",
        "",
    )
    output = Console(highlight=False)
    output.print(table)
    output.print("start-up: from the start of the process to the end of its first step, most of it compilation")
    output.print(f"ours is {floor['ours_times_floor']:.2f} times the floor")
    if "training" in result:
        for steps, held in result["training"]["resident_bytes"].items():
            output.print(f"resident memory after {int(steps):,} steps: {held / 1e9:.3f} GB")
        facts = result["training"]["facts"]
        share = facts["checkpoint_seconds"] / facts["training_seconds"]
        output.print(f"a whole training: {facts['training_seconds']} s, checkpoints {share:.2%} of it")


if __name__ == "__main__":
    run_command(app)
