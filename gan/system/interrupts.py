"""Ctrl-C, SIGTERM and a cancelled run, held back until a moment at which work can be saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

CANCELLED = signal.SIGUSR1
"""What a process sends itself when it finds that its run was cancelled (flows/server/cancellation.py)."""

HELD_BACK = (signal.SIGINT, signal.SIGTERM, CANCELLED)


@dataclass
class Interrupt:
    """The signal that came while it was held back, if one did."""

    signal_number: int | None = None

    @property
    def received(self) -> bool:
        """Whether to save and stop now."""
        return self.signal_number is not None


@contextmanager
def held_back_interrupts() -> Iterator[Interrupt]:
    """Note these signals instead of acting on them; after the block they do what they would have done.

    A signal may come between an update of the weights and its record; whoever saves then saves a lie. So the loop
    looks at the yielded `Interrupt` when a step is complete. Outside of the main thread Python delivers no signals, and
    nothing is held back.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return

    def note(signal_number: int, _frame: FrameType | None) -> None:
        interrupt.signal_number = signal_number

    heeded = [number for number in HELD_BACK if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in heeded}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if interrupt.signal_number is not None:
            signal.raise_signal(interrupt.signal_number)
