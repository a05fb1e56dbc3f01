"""Deferral of Ctrl-C, SIGTERM and cancellation until the work can be saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

CANCELLED = signal.SIGUSR1
"""Signal that a process sends to itself when its run was cancelled (flows/server/cancellation.py)."""

DEFERRED = (signal.SIGINT, signal.SIGTERM, CANCELLED)


_ctrl_c = threading.Event()


@contextmanager
def remember_ctrl_c() -> Iterator[None]:
    """Within the block, remember Ctrl-C for `raise_lost_ctrl_c`.

    Python drops a KeyboardInterrupt that is raised while C code calls back, for example in the garbage collector.
    """

    def remember(number: int, frame: FrameType | None) -> None:
        _ctrl_c.set()
        signal.default_int_handler(number, frame)

    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    _ctrl_c.clear()
    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def raise_lost_ctrl_c() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed since `remember_ctrl_c`; call it where work can be stopped."""
    if _ctrl_c.is_set():
        raise KeyboardInterrupt


@dataclass
class Interrupt:
    """The last deferred signal; after one, the work should be saved and stopped."""

    signal_number: int | None = None

    @property
    def received(self) -> bool:
        """Whether a signal was deferred."""
        return self.signal_number is not None


@contextmanager
def defer_interrupts() -> Iterator[Interrupt]:
    """Record interrupting signals within the block, and raise the last one after it.

    A signal can arrive after an update of the weights and before its record, when saving would write an inconsistent
    state. The training loop therefore checks the yielded `Interrupt` only after complete steps. Nothing is deferred
    outside the main thread, where Python delivers no signals.
    """
    interrupt = Interrupt()

    def record(signal_number: int, _frame: FrameType | None) -> None:
        interrupt.signal_number = signal_number

    in_main_thread = threading.current_thread() is threading.main_thread()
    handled = [number for number in DEFERRED if in_main_thread and signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, record) for number in handled}
    try:
        yield interrupt
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if interrupt.signal_number is not None:
            signal.raise_signal(interrupt.signal_number)
