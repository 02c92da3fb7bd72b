"""Every library of a process says all that it can say: what somebody hunting a fault would switch on. By PYTHONPATH."""

import logging

logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s %(pathname)s %(message)s")
