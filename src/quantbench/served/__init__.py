"""What is deployed, which is the code that scored: from examples to inputs, from outputs to answers.

The files here import the standard library, NumPy, transformers and each other by relative import, and nothing else of
quantbench: ``deploy`` copies those that a model needs beside it, into a folder ``served`` next to ``infer.py``. Tasks,
processors and runtimes work by the very same files.

* A task's file (``protocols.ServedTask``) encodes rows, reads predictions out of a model's outputs and makes answers.
* ``sure`` is how sure a model is of its labels, ``entities`` what labels of words make.
* ``tokens`` and ``pictures`` (``protocols.ServedProcessor``) turn texts and images into arrays.
* A runtime's file (``protocols.ServedRuntime``) loads a model.
* ``command`` is the script's command line, ``serving.json`` beside it says what it works with.
"""
