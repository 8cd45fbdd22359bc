"""Systems that quantbench does not run on."""

import subprocess
import sys

import pytest

OTHER = """
import sys
for name in ("fcntl", "resource"):
    sys.modules[name] = None  # as if there were none
from quantbench.cli import main
sys.platform = {platform!r}
sys.argv = ["quantbench", *{arguments!r}]
main()
"""


@pytest.mark.parametrize("platform", ["win32", "darwin"])
@pytest.mark.parametrize("arguments", [["demo"], ["env", "--check"], ["cache"]])
def test_other_systems_are_told_in_one_line(platform, arguments):
    code = OTHER.format(platform=platform, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: this system ({platform}): quantbench runs on Linux")
