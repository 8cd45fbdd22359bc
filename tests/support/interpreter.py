"""Code in an interpreter of its own, as somebody has it who begins."""

import os
import subprocess
import sys


def execute(code, *arguments, home, **environment):
    """Run code in a new interpreter whose caches are below ``home``, and which nobody can give a permission by hand."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    own = {"HF_HOME": str(home / "hf"), "QUANTBENCH_CACHE": str(home / "cache"), "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=clean | own | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
