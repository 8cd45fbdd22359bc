"""Adapters of peft: small weights beside a base model, merged into it, so that all else sees one plain checkpoint.

peft does the merging, in float32. What an adapter's configuration asks for and a plain checkpoint cannot hold is
refused by its name, as are adapters of which a part finds no place in the base. Source: peft 0.21,
``PeftModel.load_adapter`` and the configurations of its tuners.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from quantbench.errors import BadInput
from quantbench.schema.base import digest
from quantbench.served.pytorch import class_for
from quantbench.sources import sentence_transformers
from quantbench.sources.checkpoints import load_checkpoint
from quantbench.sources.hub import mistake
from quantbench.sources.models import (
    PICKLED,
    WEIGHTS,
    check_model_folder,
    check_safetensors,
    load_json,
    locate_model,
    model_fingerprint,
)
from quantbench.system import code
from quantbench.system.files import file_sha256
from quantbench.system.writing import SCRATCH, write_problem

CONFIG = "adapter_config.json"
SAVED = "adapter_model.safetensors"
EXTRA = "adapters"
KINDS = ("LORA", "ADALORA", "LOHA", "LOKR", "IA3", "OFT")
"""``peft_type`` of what becomes a part of the base's own weights."""
CLASSES = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
    "FEATURE_EXTRACTION": "AutoModel",
    "CAUSAL_LM": "AutoModelForCausalLM",
}
"""The class that an adapter was trained on, by its ``task_type``."""
LEFT_OUT = (
    *("alora_invocation_tokens", "arrow_config", "kasa_config", "layer_replication", "megatron_config"),
    *("monteclora_config", "use_bdlora", "use_qalora", "velora_config"),
)
"""Settings under which an adapter is not the sum of its base and a matrix, or which nothing here was tried with."""
INITIAL = (None, True, False, "gaussian", "orthogonal")
"""``init_lora_weights`` that leave the base as it was; the others take from it what the adapter starts with."""
BIAS = "base_layer.bias"
"""How the name of a bias ends that belongs to a layer with an adapter."""
PREFIX = "base_model.model."
"""Before the name of every tensor of an adapter."""
COPIES = re.compile(r"\.(modules_to_save|original_module)\.")
"""In the names of tensors that peft saves a second time."""
CACHED = re.compile(r"models--(?P<name>[^/]+)/snapshots/(?P<commit>[0-9a-f]{40})/?$")
"""How a path into the hub's cache ends, which stands in adapters whose base was loaded from there."""
READING = (
    ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "*.model", "*.jinja"),
    ("preprocessor_config.json", "processor_config.json", "image_processor*"),
)
"""Files that say how inputs are made, by what belongs together."""


@dataclass(frozen=True)
class Adapter:
    """An adapter that can be merged, and its base, both on this machine.

    Attributes:
        folder: of the adapter.
        base: folder of the base model.
        name: what the adapter calls the base.
        config: its ``adapter_config.json``.

    """

    folder: Path
    base: Path
    name: str
    config: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """Hash of the files of both, the same wherever they are merged."""
        return digest({"adapter": _hashes(self.folder), "base": model_fingerprint(self.base)})

    def note(self, name: str) -> str:
        """What a card says of the adapter that the settings call by this name."""
        return (
            f"The model is the adapter {Path(name).name} ({self.config['peft_type']}) merged into its base, "
            f"{self.name}, by peft {version('peft')}."
        )


def _hashes(folder: Path) -> dict[str, str]:
    known = [path for path in folder.iterdir() if path.is_file() and path.suffix in (".json", ".txt", ".model")]
    files = [*known, folder / SAVED, *(folder / name for name in sentence_transformers.files(folder))]
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in sorted(files)}


def local_base(folder: Path) -> dict[str, Path]:
    """The base of an adapter by what it is called there, if that is a folder of this machine; else nothing."""
    if not (folder / CONFIG).is_file():
        return {}
    name = str(load_json(folder / CONFIG).get("base_model_name_or_path"))
    return {name: path} if (path := Path(name).expanduser()).is_dir() else {}


def find(folder: Path, allow_pickled_weights: bool, places: Mapping[str, str] | None = None) -> Adapter | None:
    """The adapter in a folder with its base, which is fetched where it is on the hub; None if it is no adapter.

    Args:
        folder: of a model.
        allow_pickled_weights: of the base; an adapter's are read from safetensors only.
        places: where models lie that are called by another path.

    Raises:
        BadInput: at ``model_name_or_path``, if it cannot be merged, peft is not installed, or the base cannot be used.

    """
    if not (folder / CONFIG).is_file():
        return None
    config = load_json(folder / CONFIG)
    name = str(config.get("base_model_name_or_path") or "")
    _check(folder, config, name)
    if find_spec("peft") is None:
        needs = f"merging it needs peft, which cannot be imported here: pip install 'quantbench[{EXTRA}]'"
        _refuse(folder, config, needs)
    try:
        base = _base((places or {}).get(name, name), config.get("revision"), allow_pickled_weights)
        about = {} if (base / CONFIG).is_file() else check_model_folder(base, allow_pickled_weights, True)
    except BadInput as error:
        _refuse(folder, config, f"its base cannot be used: {error.mistakes[0].message}")
    for problem in _of_base(about):
        _refuse(folder, config, f"its base {problem}")
    return Adapter(folder, base, name, config)


def _of_base(config: Mapping[str, Any]) -> list[str]:
    """Why nothing can be merged into a base of this configuration, which is empty for adapters."""
    by_hand = "merge it by peft's merge_and_unload(), save the result by save_pretrained and give that folder"
    found = [] if config else ["is an adapter itself; merge that first"]
    found += [f"brings code of its own, which is not run for that; {by_hand}"] if config.get("auto_map") else []
    quantized = config.get("quantization_config")
    return [*found, *(["is quantized; name it in float as base_model_name_or_path"] if quantized else [])]


def _check(folder: Path, config: Mapping[str, Any], base: str) -> None:
    """Refuse what the files of an adapter tell that cannot be merged."""
    kind = str(config.get("peft_type"))
    if kind not in KINDS:
        hint = f"kinds that can be merged are {', '.join(KINDS)}; choose another model"
        _refuse(folder, config, f"this changes no weights of its base, so that nothing can be merged; {hint}")
    if not base:
        _refuse(folder, config, f"{CONFIG} does not name its base; write it there as base_model_name_or_path")
    if any((folder / name).exists() for name in (*WEIGHTS, *PICKLED)):
        _refuse(folder, config, f"with other weights beside it; remove {CONFIG} or these, whichever does not count")
    if not (folder / SAVED).is_file():
        _refuse(folder, config, f"its weights, {SAVED}, are not there; save it once more by peft's save_pretrained")
    check_safetensors(folder / SAVED)
    for name in LEFT_OUT:
        if config.get(name):
            _refuse(folder, config, f"it sets {name}, which is not followed here; choose another model")
    if config.get("init_lora_weights") not in INITIAL:
        hint = "convert it into a plain LoRA adapter (path_initial_model_for_weight_conversion of save_pretrained)"
        _refuse(folder, config, f"it was begun with init_lora_weights: {config['init_lora_weights']}; {hint}")


def _refuse(folder: Path, config: Mapping[str, Any], problem: str) -> NoReturn:
    """Raise that the adapter in a folder cannot be merged."""
    base = config.get("base_model_name_or_path") or "a base model that it does not name"
    told = f"model folder {folder} is an adapter ({config.get('peft_type')}) for {base}"
    raise mistake("model_name_or_path", f"{told}: {problem}")


def _base(name: str, revision: str | None, allow_pickled_weights: bool) -> Path:
    """The folder of a base model, by its path, its name on the hub, or a path into a hub's cache on any machine."""
    cached = CACHED.search(name)
    if cached and not Path(name).expanduser().is_dir():
        name, revision = cached["name"].replace("--", "/", 1), cached["commit"]
    return locate_model(name, allow_pickled_weights, revision=revision)


def merge(adapter: Adapter, at: Path, allow_pickled_weights: bool) -> Path:
    """The folder of the merged checkpoint, made once in the cache folder ``at``.

    Its tokenizer is the adapter's where that brings one, else the base's; so are the modules of sentence-transformers,
    the base's for models without a head only. What neither file holds of the model's weights is left out, as what
    would be drawn at random.

    Args:
        adapter: to be merged.
        at: the machine's cache folder.
        allow_pickled_weights: of the base.

    Raises:
        BadInput: at ``model_name_or_path``, if a part of it finds no place in the base.

    """
    libraries = {name: version(name) for name in ("peft", "torch", "transformers")}
    key = digest({"adapter": adapter.fingerprint, "versions": libraries, "code": code.fingerprint()})
    target = at / "merged" / key
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{SCRATCH}") as scratch:
            made = Path(scratch) / "model"
            _write(adapter, made, allow_pickled_weights)
            made.replace(target)
    except OSError as error:
        if not target.is_dir():  # which another process has made meanwhile
            raise mistake(str(target), write_problem(error, target)) from error
    return target


def _write(adapter: Adapter, folder: Path, allow_pickled_weights: bool) -> None:
    """Write the merged checkpoint with the files that belong to it."""
    import torch

    config, auto_class = _configuration(adapter)
    options = {"auto_class": auto_class, "allow_pickled_weights": allow_pickled_weights}
    loaded = load_checkpoint(adapter.base, options, config)
    with torch.no_grad():
        model, brought = _merged(adapter, loaded.model)
    absent = set(loaded.drawn) - brought
    weights = {name: tensor for name, tensor in model.state_dict().items() if name not in absent}
    model.save_pretrained(str(folder), state_dict=weights)
    headless = auto_class == CLASSES["FEATURE_EXTRACTION"]
    for source, name in _beside(adapter, headless):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, folder / name)


def _configuration(adapter: Adapter) -> tuple[Any, str]:
    """The configuration of the merged model, with as many labels as the adapter's head has, and its class."""
    from transformers import AutoConfig

    own = (adapter.folder / "config.json").is_file()
    config = AutoConfig.from_pretrained(str(adapter.folder if own else adapter.base))
    auto_class = _auto_class(adapter.config, config)
    expected, saved = _shapes(config, auto_class), _whole(adapter.folder)
    other = {name: shape for name, shape in saved.items() if expected.get(name, shape) != shape}
    labels = getattr(config, "num_labels", None)
    unlike = [name for name, shape in other.items() if (labels, *shape[1:]) != expected[name]]
    rows = {shape[0] for shape in other.values()}
    if len(rows) == 1 and not unlike:
        config.num_labels = rows.pop()
    elif other:
        name = next(iter([*unlike, *other]))
        sizes = f"{' x '.join(map(str, other[name]))}, where the base has {' x '.join(map(str, expected[name]))}"
        _refuse(adapter.folder, adapter.config, f"its weights {name} are {sizes}; it belongs to another base")
    return config, auto_class


def _auto_class(adapter: Mapping[str, Any], config: Any) -> str:
    """The automatic class that loads what an adapter was trained on: as it says, else as the base's files say."""
    if adapter.get("task_type") in CLASSES:
        return CLASSES[adapter["task_type"]]
    trained = (adapter.get("auto_mapping") or {}).get("base_model_class") or next(iter(config.architectures or [""]))
    head = str(trained).partition("For")[2]
    return f"AutoModelFor{head}" if head else "AutoModel"


def _shapes(config: Any, auto_class: str) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's weights, without making any."""
    import torch

    with torch.device("meta"):
        model = class_for(auto_class, config).from_config(config)
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}


def _whole(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of tensors that an adapter brings in place of its base's, such as a head's, by the base's names."""
    from safetensors import safe_open

    with safe_open(folder / SAVED, "np") as file:
        names = [name for name in file.keys() if name.startswith(PREFIX)]  # noqa: SIM118, it is no mapping
        return {name.removeprefix(PREFIX): tuple(file.get_slice(name).get_shape()) for name in names}


def _merged(adapter: Adapter, base: Any) -> tuple[Any, set[str]]:
    """A base with an adapter merged into it, and the names of the weights that the adapter brought whole."""
    import peft

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            config = peft.PeftConfig.from_pretrained(str(adapter.folder))
            ignored = _ignored(adapter.config, config)
            wrapped = peft.PeftModel(base, config)
            found = wrapped.load_adapter(str(adapter.folder), "default")
        except Exception as error:  # whatever peft raises for what stands in a file
            _refuse(adapter.folder, adapter.config, f"peft {version('peft')} cannot load it: {_told(error)}")
        if ignored:
            hint = f"{ignored[0]}, which peft {version('peft')} does not know; install a newer one"
            _refuse(adapter.folder, adapter.config, f"it sets {hint}")
        brought = _whole(adapter.folder)
        if _lost_biases(config, wrapped, brought):
            hint = "as peft before 0.21 lost them; save it once more, from where it was trained, by a newer one"
            _refuse(adapter.folder, adapter.config, f"it sets bias: {config.bias} and brings none, {hint}")
        unknown = [name for name in found.unexpected_keys if _plain(name) not in brought]
        for what, names in (("its files lack", found.missing_keys), ("it brings", unknown)):
            if names:
                told = f"{what} {names[0]}, unlike {type(base).__name__} with the adapter that {CONFIG} describes"
                _refuse(adapter.folder, adapter.config, f"{told}; fetch both again")
        try:
            model = wrapped.merge_and_unload(safe_merge=True)
        except Exception as error:  # as above, and for weights that are no numbers
            _refuse(adapter.folder, adapter.config, f"peft {version('peft')} cannot merge it: {_told(error)}")
    return model, set(brought)


def _lost_biases(config: Any, wrapped: Any, brought: Mapping[str, Any]) -> bool:
    """Whether biases were trained beside the adapter and none is among its weights, by the tensors' names."""
    trained = getattr(config, "bias", "none") not in (None, "none")
    known = any(name.endswith(BIAS) for name, _ in wrapped.named_parameters())
    return trained and known and not any(name.endswith(BIAS) for name in brought)


def _plain(name: str) -> str:
    """The base's name of a tensor; with ``bias: all``, those that are saved whole are saved by names of peft's too."""
    return COPIES.sub(".", name.removeprefix(PREFIX))


def _told(error: Exception) -> str:
    """The first two lines of an error: PyTorch's name in the second what does not fit."""
    return " ".join(line.strip() for line in str(error).strip().splitlines()[:2])


def _ignored(written: Mapping[str, Any], read: Any) -> list[str]:
    """Settings of a file that the installed peft passes over, but for those that are off."""
    known = {field.name for field in dataclasses.fields(read)}
    return sorted(name for name, value in written.items() if value and name not in known)


def _beside(adapter: Adapter, headless: bool) -> Iterator[tuple[Path, str]]:
    """Files that belong to the merged checkpoint beside its weights, as (folder, name)."""
    for patterns in READING:
        found = {folder: _matching(folder, patterns) for folder in (adapter.folder, adapter.base)}
        folder = adapter.folder if found[adapter.folder] else adapter.base
        yield from ((folder, name) for name in found[folder])
    declared = {folder: _declared(folder) for folder in (adapter.folder, adapter.base)}
    if declared[adapter.folder]:
        yield from ((adapter.folder, name) for name in declared[adapter.folder])
    elif headless:
        yield from ((adapter.base, name) for name in declared[adapter.base])


def _matching(folder: Path, patterns: Sequence[str]) -> list[str]:
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    return [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]


def _declared(folder: Path) -> list[str]:
    """What a folder says for sentence-transformers, of embeddings or of pairs."""
    alone = [name for name in sentence_transformers.SETTINGS if (folder / name).is_file()]
    return [path.as_posix() for path in sentence_transformers.files(folder)] or alone
