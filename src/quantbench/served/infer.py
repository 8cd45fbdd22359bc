"""Runs the model in this folder on texts or on a file of examples: python infer.py --help."""

import sys
from pathlib import Path

from served.command import main

if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent))
