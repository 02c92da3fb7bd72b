"""Where log records go: stderr, for operators. Who did what stands in the audit trail, not here."""

import contextlib
import logging
import sys

import structlog


class _Logger(structlog.PrintLogger):
    """A log that cannot be written (stderr is a file on a full disk) must not stop what it speaks of."""

    def msg(self, message: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = error = critical = fatal = exception = failure = err = msg


def set_up_logging(process: str) -> None:
    """For the whole process: coloured lines on a terminal, else one JSON object a line. `process` names who speaks.

    Control characters in values are escaped either way: names and texts in records come from strangers.
    """
    lines = structlog.dev.ConsoleRenderer(repr_native_str=True)
    renderer: structlog.typing.Processor = lines if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _Logger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(process=process)
