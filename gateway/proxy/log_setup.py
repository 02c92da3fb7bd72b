"""Where log records go: stderr, for operators. Who did what stands in the audit trail, not here."""

import logging
import sys

import structlog


def set_up_logging(process: str) -> None:
    """For the whole process: coloured lines on a terminal, else one JSON object a line. `process` names who speaks.

    Control characters in values are escaped either way: names and texts in records come from strangers.
    """
    renderer: structlog.typing.Processor
    if sys.stderr.isatty():
        renderer = structlog.dev.ConsoleRenderer(repr_native_str=True)
    else:
        renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(process=process)
