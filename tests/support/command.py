"""Running the command as a user does, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path


def quantbench(*arguments, cwd: Path, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``quantbench ARGUMENTS`` in ``cwd`` with the hub's variables cleared and ``environment`` added."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-m", "quantbench", *map(str, arguments)],
        cwd=cwd,
        env={**clean, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
