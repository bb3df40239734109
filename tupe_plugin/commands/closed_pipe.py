"""Who reads a program's output may leave before its end: `tupe ... | head -1`. That is no error.

Other programs die of SIGPIPE there, silently. Python ignores the signal, and so does this: it would
end a sweep before that could end its runs.
"""

from __future__ import annotations

import os
import select
import sys

STATUS = 128 + 13
"""Of a program that SIGPIPE has ended, as a shell tells it."""


def flush_output() -> None:
    """Now, and not at Python's end, where an error cannot be caught.

    Raises:
        BrokenPipeError: nobody reads it, perhaps.
        OSError: it cannot be written, and is given up.
    """
    if sys.stdout is None:  # closed from the beginning
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError:
        _give_up(sys.stdout)
        raise


def give_up_what_nobody_reads() -> bool:
    """Let what is still to be written to a pipe without a reader vanish; whether there is one."""
    closed = [stream for stream in (sys.stdout, sys.stderr) if _is_closed(stream)]
    for stream in closed:
        _give_up(stream)
    return bool(closed)


def _is_closed(stream: object) -> bool:
    try:
        descriptor = stream.fileno()  # type: ignore[attr-defined]
        poll = select.poll()
    except (AttributeError, OSError, ValueError):  # no file at all; not a Unix
        return False
    poll.register(descriptor, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def _give_up(stream: object) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())  # type: ignore[attr-defined]
    os.close(nowhere)
