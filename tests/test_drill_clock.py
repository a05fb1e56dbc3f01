"""Drills with a clock that jumps between two runs and during a run. `make drills` runs them."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from faults import assert_the_next_run_ends_well, command, same_bytes, stopped
from pipeline import Checkout, ran, states

pytestmark = pytest.mark.drill

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
SLEEP_BY_SELECT = """
import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""
MINUTES = "import time; print(round((time.time() - {}) / 60))"


class Clock:
    """Sets the time of day that the processes of a checkout read."""

    def __init__(self, checkout: Checkout, folder: Path) -> None:
        self.offset_file = folder / "offset"
        site = folder / "site"
        site.mkdir()
        # A jump does not change the monotonic clock. With this setting libfaketime breaks clock_nanosleep.
        (site / "sitecustomize.py").write_text(SLEEP_BY_SELECT)
        faked = {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self.offset_file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "PYTHONPATH": f"{site}:{checkout.env['PYTHONPATH']}",
        }
        self.checkout = replace(checkout, env={**checkout.env, **faked})
        self.jump("+0")

    def jump(self, offset: str) -> None:
        """Set the offset from the real time, such as +400d."""
        new = self.offset_file.with_suffix(".new")
        new.write_text(f"{offset}\n")
        new.replace(self.offset_file)  # atomic: no process reads a half-written file


@pytest.fixture
def clock(checkout, tmp_path) -> Clock:
    """Return a clock, after a check that processes see it jump."""
    if FAKETIME is None:
        pytest.skip("libfaketime is not installed (on Debian: apt-get install faketime)")
    clock = Clock(checkout, tmp_path)
    clock.jump("+400d")
    faked = int(clock.checkout.run("-c", MINUTES.format(400 * 86400)))
    assert abs(faked - int(checkout.run("-c", MINUTES.format(0)))) < 3
    return clock


def test_a_clock_that_jumped_between_two_runs_costs_no_result(
    checkout, data, finished, uninterrupted, clock, tmp_path
) -> None:
    folder = shutil.copytree(finished, tmp_path / "artifacts", symlinks=True)
    clock.jump("+400d")
    assert ran(states(assert_the_next_run_ends_well(clock.checkout, data, folder, uninterrupted))) == set()
    clock.jump("-400d")
    (folder / "runs" / "same" / "final_grid.png").unlink()
    assert ran(states(assert_the_next_run_ends_well(clock.checkout, data, folder, uninterrupted))) == {"publish"}
    assert ran(states(assert_the_next_run_ends_well(checkout, data, folder, uninterrupted))) == set()


def test_a_clock_that_jumps_forward_and_back_during_a_run_changes_nothing(
    checkout, data, uninterrupted, clock, tmp_path
) -> None:
    folder = tmp_path / "artifacts"
    clock.jump("+0")
    with stopped(clock.checkout, "normalize file,train checkpoint,compare file", command(data, folder)) as run:
        for offset in ("+2d", "-2d"):
            clock.jump(offset)
            run.go_on()
            run.wait_for_stop()
        clock.jump("+1h")
        run.go_on()
        code, output = run.end()
        assert code == 0, output
        run.assert_nothing_is_left()
    assert same_bytes(folder) == uninterrupted
    assert ran(states(assert_the_next_run_ends_well(checkout, data, folder, uninterrupted))) == set()
