"""Signals that end a run: it is recorded as interrupted, as after Ctrl-C, and can go on."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytorch_lightning as pl

# What clusters and service managers send before they kill.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Stopped(KeyboardInterrupt):
    """A signal came; what ends on Ctrl-C ends on it, in the same way."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signal.Signals(signum)


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise `Stopped` in the block when a signal comes that nobody handles.

    In its jobs submitit handles SIGTERM by waiting: a job that ends by itself, while it is being
    preempted, is over for Slurm and does not go back into the queue.
    """

    def stop(signum: int, _: FrameType | None) -> None:
        for each in SIGNALS:  # the second one must not disturb what the first one began
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(signum)

    here = threading.current_thread() is threading.main_thread()
    ours = [each for each in SIGNALS if here and signal.getsignal(each) is signal.SIG_DFL]
    for each in ours:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)


def signal_of(error: BaseException) -> signal.Signals | None:
    """The signal behind an exception; None for one that no signal caused."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Stopped):
            return cause.signum
        if isinstance(cause, KeyboardInterrupt):
            return signal.SIGINT
        cause = cause.__context__
    return None


class OwnSignals(pl.Callback):
    """While training, signals mean what they meant before.

    Lightning ends training on SIGTERM, even where that is handled, and on SIGUSR1 would put a Slurm
    job into the queue with a checkpoint from within an epoch, which does not continue to the same
    numbers.
    """

    def __init__(self) -> None:
        self.handlers: dict[signal.Signals, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self.handlers = {each: signal.getsignal(each) for each in SIGNALS}

    def on_train_start(self, *_: Any) -> None:
        """Take back what Lightning has set since."""
        for each, handler in self.handlers.items():
            signal.signal(each, handler)
