"""``python -m quantbench`` is the command ``quantbench``."""

from quantbench.cli import main

main()
