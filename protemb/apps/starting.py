"""The outermost layer of every command; light, as it is there for every command."""

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType


@contextmanager
def machine_errors() -> Iterator[None]:
    """What the machine refuses (a full disk, no permission) is one line and exit code 2."""
    hooks = sys.excepthook, sys.unraisablehook

    # HDF5 says it again, to both hooks, for every object that it cannot write while closing.
    def shown(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not isinstance(error, OSError):
            hooks[0](kind, error, trace)

    def ignored(unraisable: "sys.UnraisableHookArgs") -> None:
        if not isinstance(unraisable.exc_value, OSError):
            hooks[1](unraisable)

    sys.excepthook, sys.unraisablehook = shown, ignored
    try:
        yield
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _reader_has_gone():
            sys.stderr.close()
            return
        print(f"protemb: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    finally:
        sys.excepthook, sys.unraisablehook = hooks


def _reader_has_gone() -> bool:
    """Whether who read this process's output (head, less) has seen enough."""
    outputs = select.poll()
    for stream in (1, 2):
        outputs.register(stream, 0)
    return any(event & select.POLLERR for _, event in outputs.poll(0))


def start(main: Callable[[], object], *folders: Path) -> None:
    """Run an entry point of Hydra, which meets such errors too, before there is a job.

    Args:
        main: the entry point.
        folders: of the config's groups.
    """
    from hydra.errors import HydraException

    for word in sys.argv[1:]:
        group, _, value = word.lstrip("/").partition("=")
        if value.lower() == "null" and any((folder / group).is_dir() for folder in folders):
            # Hydra has a traceback for it that does not say which one it is.
            print(f"protemb: {group}: got null, expected one of its choices", file=sys.stderr)
            raise SystemExit(2)
    asked = "HYDRA_FULL_ERROR" in os.environ
    with machine_errors():
        try:
            main()
        except HydraException as error:  # a point of a sweep that cannot be composed
            if asked:
                raise
            print("protemb:", *str(error).split(), file=sys.stderr)
            raise SystemExit(2) from None


def leave_errors_alone() -> None:
    """Let errors of a composed job through, which Hydra would print as tracebacks of its own."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
