"""Quantizers log advice to their developers, which tells users nothing that they can act on."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def silence() -> Iterator[None]:
    """Without warnings and standard output of a quantizer.

    ONNX Runtime's advises on its own pre-processing, through the root logger, at every call; NNCF logs what it chose
    and draws progress bars.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
