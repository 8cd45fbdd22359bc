"""A process with the libraries loaded, of which commands are forked: most of a small command's time is importing them.

Started by ``command.quantbench``. A line of JSON on standard input asks for a command, its exit code is the answer.
"""

import json
import os
import signal
import sys

import datasets  # noqa: F401 - here to be loaded
import onnx  # noqa: F401
import torch  # noqa: F401
from transformers import (  # noqa: F401
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertForTokenClassification,
    DistilBertForTokenClassification,
)


def execute(wanted):
    """Be the command: its folder, variables, streams and arguments."""
    os.setsid()
    signal.alarm(int(wanted["timeout"]))
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    for number, path in ((1, wanted["stdout"]), (2, wanted["stderr"])):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
    sys.argv = ["quantbench", *wanted["arguments"]]
    from quantbench.cli import main

    main()


def fork(wanted):
    """Exit code of a command in a process of its own."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        execute(wanted)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        print(fork(json.loads(line)), file=answers, flush=True)
