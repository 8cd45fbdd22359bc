"""PyTorch, eager: checkpoints as transformers loads them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from . import tokens

LIBRARIES = ("torch",)
BASE_CLASS = "AutoModel"
ENCODER_CLASS = "AutoModelForTextEncoding"
ENCODER_ENDING = "EncoderModel"
"""Of the classes that are the encoder of a model that has a decoder too."""
POOLED = {"DPRContextEncoder": "ctx_encoder.bert_model", "DPRQuestionEncoder": "question_encoder.bert_model"}
"""Classes that give a pooled vector only, by name, and where in them the encoder lies whose first token it is."""


class PyTorchSession:
    """A loaded checkpoint; arrays in, arrays out. `model` is the transformers module."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def predict(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Outputs of one batch as float32 arrays: the model's logits-like outputs in their order."""
        outputs: Any = self.prepare(inputs)()
        return [value.float().numpy() for value in outputs.to_tuple() if hasattr(value, "numpy")]

    def prepare(self, inputs: Mapping[str, Any]) -> Callable[[], object]:
        """A call that runs one batch; its tensors are made here, outside of what is timed."""
        import torch

        model = self.model
        tensors = {name: torch.from_numpy(inputs[name]) for name in accepted(model, inputs)}

        def call() -> object:
            with torch.inference_mode():
                return model(**tensors)

        return call


def accepted(model: Any, inputs: Iterable[str]) -> list[str]:
    """The inputs that the model's forward names, in their order; others would be ignored or refused."""
    known = inspect.signature(model.forward).parameters
    return [name for name in inputs if name in known]


def class_for(auto_class: str, config: Any) -> Any:
    """The class of transformers that loads a configuration for a task.

    Of a model with encoder and decoder the base class would load both, where embeddings are the encoder's: these are
    loaded by ``AutoModelForTextEncoding`` where it knows an encoder alone (T5, mT5), as sentence-transformers does.
    """
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING as ENCODERS

    own_code = auto_class in (getattr(config, "auto_map", None) or {})
    known = auto_class == BASE_CLASS and not own_code and type(config) in ENCODERS
    alone = known and ENCODERS[type(config)].__name__.endswith(ENCODER_ENDING)
    return getattr(transformers, ENCODER_CLASS if alone else auto_class)


def own_class(folder: str | Path, auto_class: str, config: Any) -> Any:
    """The class of the folder's own code for a task; None where its configuration names none.

    Once a class of such code is loaded in a process, the automatic classes take it for every folder whose configuration
    is of the same code (transformers 5.23), whatever else lies there.
    """
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    reference = (getattr(config, "auto_map", None) or {}).get(auto_class)
    if reference is None:
        return None
    found = get_class_from_dynamic_module(reference, str(folder))
    found.register_for_auto_class(auto_class)
    return found


def pooled_class(auto_class: str, config: Any) -> Any:
    """The class of ``POOLED`` that a configuration names, of which the base class knows one only; None if it does not.

    Raises:
        ValueError: if its vector is more than a token's, so that the encoder alone would give another.

    """
    import transformers

    name = next(iter(getattr(config, "architectures", None) or ()), "")
    if auto_class != BASE_CLASS or name not in POOLED:
        return None
    if config.projection_dim:
        raise ValueError(
            f"{name} projects its vectors (projection_dim: {config.projection_dim}), which is not done here"
        )
    return getattr(transformers, name)


def read(folder: str | Path, options: Mapping[str, Any], config: Any = None) -> tuple[Any, Mapping[str, Any]]:
    """A checkpoint's module in evaluation mode, and transformers' report of what its files lack.

    What is missing is drawn from a fixed seed, so that no two loads differ whatever was drawn before. A classifier that
    looks for the end of a text by a token to pad with, and names none, is told the one that texts are padded with.

    Args:
        folder: of the checkpoint.
        options: of a PyTorch arm: ``auto_class`` names the class of transformers that chooses the module's, by the
            task; ``precision`` the type that the weights are given, float32 where it is left out;
            ``trust_remote_code`` lets code of the folder run, ``allow_pickled_weights`` weights be pickles.
        config: of transformers, in place of the folder's own.

    """
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    trusted = bool(options.get("trust_remote_code"))
    config = config or transformers.AutoConfig.from_pretrained(str(folder), trust_remote_code=trusted)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        name = str(options["auto_class"])
        pooled = pooled_class(name, config)
        model, report = (own_class(folder, name, config) or pooled or class_for(name, config)).from_pretrained(
            str(folder),
            config=config,
            dtype=getattr(torch, str(options.get("precision", "float32"))),
            trust_remote_code=trusted,
            use_safetensors=None if options.get("allow_pickled_weights") else True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    if type(model).__name__.endswith(tokens.CLASSIFIER) and getattr(model.config, "pad_token_id", 0) is None:
        raw = tokens.load_tokenizer(Path(folder), words=False, trust_remote_code=trusted)
        model.config.pad_token_id = tokens.padding_id(model.config.to_dict(), raw)
    if pooled is not None:
        model = model.get_submodule(POOLED[pooled.__name__])
    return model.eval(), report


def load(path: str, options: Mapping[str, Any], num_threads: int) -> PyTorchSession:
    """Load a checkpoint folder; see :func:`read`."""
    import torch

    torch.set_num_threads(num_threads)
    return PyTorchSession(read(path, options)[0])
