"""Configurations: every mistake with its line, overrides, the round trip, and the reference card's own values."""

import math
import re

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantbench.config.load import build_config, dump_config, load_config
from quantbench.config.plan import make_plan
from quantbench.errors import BadInput
from quantbench.schema.settings import Settings

HEAD = """task: token-classification
model_name_or_path: demo
dataset: {path: demo, calibration_split: train}
"""
FIRST = HEAD.count("\n") + 1
"""Line of the first thing that a test adds."""


@pytest.fixture
def load(tmp_path):
    path = tmp_path / "bench.yaml"

    def call(text, *overrides):
        path.write_text(text)
        return load_config(path, overrides)

    return call


@pytest.fixture
def mistakes(load, tmp_path):
    """Mistakes of a text as ``(line or option, message)``."""

    def call(text, *overrides):
        with pytest.raises(BadInput) as caught:
            load(text, *overrides)
        prefix = f"{tmp_path / 'bench.yaml'}:"
        found = []
        for mistake in caught.value.mistakes:
            line = mistake.where.removeprefix(prefix)
            found.append((int(line) if line.isdecimal() else mistake.where, mistake.message))
        return found

    return call


def assert_found(found, *expected):
    """Compare mistakes with ``(line, word, word, …)`` in order: every word must stand in the message."""
    assert [line for line, _ in found] == [line for line, *_ in expected], found
    for (_, message), (_, *words) in zip(found, expected, strict=True):
        for word in words:
            assert word in message, message
        assert "Traceback" not in message
        assert "\n" not in message


ONE_LINE = {
    "unknown key": ("per_chanel: true", "unknown key 'per_chanel'", "did you mean 'per_channel'?"),
    "unknown nested key": ("calibration: {methd: minmax}", "'calibration.methd'", "did you mean 'calibration.method'?"),
    "unknown under benchmarked": ("benchmarked: {per_chanel: [true]}", "'per_chanel'", "did you mean 'per_channel'?"),
    "unknown nested under benchmarked": (
        "benchmarked: {calibration.methd: [minmax]}",
        "'calibration.methd'",
        "did you mean 'calibration.method'?",
    ),
    "key below a scalar": ("benchmarked: {task.name: [a]}", "unknown key 'task.name'"),
    "nothing alike": ("zzz: 1", "unknown key 'zzz'", "there is: activation_type, "),
    "text for a flag": ("per_channel: perhaps", 'per_channel is "perhaps"', "must be true or false"),
    "number for a flag": ("per_channel: 1", "per_channel is 1", "must be true or false"),
    "text for a number": ("max_eval_samples: many", 'is "many"', "must be a whole number"),
    "fraction for a number": ("max_eval_samples: 1.5", "is 1.5", "must be a whole number"),
    "number for a list": ("batch_sizes: 4", "batch_sizes is 4", "must be a list, such as [a, b]"),
    "text for a list": ("operators_to_quantize: MatMul", 'is "MatMul"', "must be a list"),
    "text for a mapping": ("calibration: minmax", 'calibration is "minmax"', "must be a mapping of parameters"),
    "nothing for a mapping": ("calibration:", "calibration is null", "must be a mapping of parameters"),
    "list for a mapping": ("framework_args: [opset]", "must be a mapping of parameters"),
    "flag for text": ("framework: no", "framework is false", "must be text", "quotes"),
    "not among the values": (
        "calibration: {method: median}",
        'is "median"',
        "'minmax', 'entropy', 'percentile' or 'mse'",
    ),
    "not among the numbers": ("framework_args: {optimization_level: 3}", "is 3", "0, 1, 2 or 99"),
    "zero size": ("batch_sizes: [0]", "batch_sizes.0 is 0", "must be greater than 0"),
    "negative size": ("input_lengths: [-8]", "input_lengths.0 is -8", "must be greater than 0"),
    "no lengths": ("input_lengths: []", "input_lengths is empty", "at least one value"),
    "no operators": ("operators_to_quantize: []", "operators_to_quantize is empty"),
    "no samples": ("calibration: {num_calibration_samples: 0}", "must be greater than 0"),
    "negative warm-up": ("time_benchmark_args: {warmup_runs: -1}", "must be greater than or equal to 0"),
    "no duration": ("time_benchmark_args: {duration: 0}", "must be greater than 0"),
    "endless duration": ("time_benchmark_args: {duration: .inf}", "duration is inf", "finite"),
    "no number": ("calibration: {percentile: .nan}", "percentile is nan", "finite"),
    "percentile": ("calibration: {percentile: 101}", "is 101", "must be less than or equal to 100"),
    "date": ("framework: 2020-01-01", "framework is a date", "quotes"),
    "number as a key": ("backend: {name: local, args: {1: a}}", "backend.args.1 as a key is no text but int", "quotes"),
    "benchmarked is a list": ("benchmarked: [per_channel]", 'benchmarked is ["per_channel"]', "must map parameters"),
    "benchmarked is nothing": ("benchmarked:", "benchmarked is null", "must map parameters"),
    "no values": ("benchmarked: {per_channel: []}", "per_channel under benchmarked is []", "at least one value"),
    "value without a list": ("benchmarked: {per_channel: true}", "is true", "must be a list of at least one value"),
    "nested mapping": ("benchmarked: {calibration: {method: [minmax]}}", "must be a list", "calibration.<name>: ["),
    "wrong value": ("benchmarked: {per_channel: [true, maybe]}", 'per_channel is "maybe"', "true or false"),
    "value twice": ("benchmarked: {per_channel: [true, true]}", "per_channel has the value true twice", "remove one"),
    "value twice, written in two ways": (
        "benchmarked: {time_benchmark_args.duration: [15, 15.0]}",
        "has the value 15.0 twice",
    ),
    "a whole and its part": (
        "benchmarked: {calibration: [{method: minmax}], calibration.seed: [1, 2]}",
        "calibration.seed and calibration are both benchmarked",
        "keep one",
    ),
    "endless value": ("benchmarked: {time_benchmark_args.duration: [1, .inf]}", "is inf", "finite"),
    "unknown metric": ("metrics: [seqevall]", "unknown metric 'seqevall'", "did you mean 'seqeval'?"),
    "unknown operator": ("operators_to_quantize: [Matmul]", "unknown operator 'Matmul'", "did you mean 'MatMul'?"),
    "unknown runtime": ("framework: onnxruntim", "unknown framework 'onnxruntim'", "did you mean 'onnxruntime'?"),
    "runtime that cannot": ("framework: pytorch", "framework pytorch", "only: none", "another framework"),
    "unknown launcher": ("backend: {name: locl}", "unknown backend 'locl'", "did you mean 'local'?"),
    "unknown launcher by name alone": ("backend: locl", "unknown backend 'locl'", "did you mean 'local'?"),
    "unknown group": ("node_exclusion: [geluu]", "node-exclusion group 'geluu'", "did you mean 'gelu'?"),
    "unknown optional group": ("node_exclusion: ['geluu?']", "node-exclusion group 'geluu'", "did you mean 'gelu'?"),
    "opset too new": ("framework_args: {opset: 21}", "opset 21 is too new", "11 to 20"),
    "opset too old": ("framework_args: {opset: 10}", "opset 10 is too old", "11 to 20"),
    "dynamic with int8": ("activation_type: int8", "uint8 activations only", "use auto or uint8"),
    "unused stride": ("calibration: {stride: 4}", "stride belongs to sampling strided, not random"),
    "unused average": (
        "calibration: {method: entropy, moving_average: true}",
        "moving_average belongs to method minmax, not entropy",
    ),
    "anchor inside of itself": ("backend: &a {args: *a}", "refers to itself"),
}


@pytest.mark.parametrize("case", ONE_LINE)
def test_one_mistake_is_one_message_with_its_line(case, mistakes):
    text, *words = ONE_LINE[case]
    assert_found(mistakes(f"{HEAD}{text}\n"), (FIRST, *words))


def test_static_without_a_calibration_split(mistakes):
    text = HEAD.replace(", calibration_split: train", "") + "quantization_approach: static\n"
    assert_found(mistakes(text), (FIRST, "static", "needs dataset.calibration_split", "calibration_split: train"))


def test_per_channel_below_opset_13(mistakes):
    text = HEAD + "quantization_approach: static\nframework_args: {opset: 12}\nper_channel: true\n"
    assert_found(mistakes(text), (FIRST + 2, "per_channel", "opset 13 or newer", "framework_args.opset is 12"))


def test_dynamic_per_channel_needs_no_opset_13(load):
    assert load(HEAD + "per_channel: true\nframework_args: {opset: 11}\n").base.per_channel


def test_unknown_task(mistakes):
    found = mistakes(HEAD.replace("token-classification", "token-clasification"))
    assert_found(found, (1, "unknown task 'token-clasification'", "did you mean 'token-classification'?"))


def test_data_keys_are_those_of_the_task(mistakes):
    text = HEAD + "benchmarked:\n  dataset.data_keys:\n    - {primary: tokens}\n    - {first: tokens}\n"
    assert_found(mistakes(text), (FIRST + 3, "unknown key in data_keys 'first'", "there is: primary"))


def test_the_same_key_fixed_and_benchmarked(mistakes):
    text = HEAD + "calibration: {method: minmax}\nbenchmarked:\n  calibration.method: [minmax, entropy]\n"
    assert_found(mistakes(text), (FIRST + 2, "calibration.method is fixed (at ", f"bench.yaml:{FIRST})", "keep one"))


def test_required_parameters(mistakes):
    found = mistakes("dataset: {eval_split: test}\n")
    words = [message.split(" is missing")[0] for _, message in found]
    assert sorted(words) == ["dataset.path", "model_name_or_path", "task"]
    assert next(line for line, message in found if "dataset.path" in message) == 1


def test_a_misspelt_required_parameter_is_not_missing_as_well(mistakes):
    found = mistakes(HEAD.replace("model_name_or_path", "model_name_or_pth"))
    assert_found(found, (2, "did you mean 'model_name_or_path'?"))


def test_all_mistakes_of_a_file_at_once_in_its_order(mistakes):
    text = """task: token-clasification
model_name_or_path: demo
dataset:
  path: demo
  eval_splt: test
node_exclusion: [gelu, geluu]
batch_sizes: [4, 0]
framework_args: {opset: 99}
per_channel: x
per_channel: true
operators_to_quantize: [Matmul]
benchmarked:
  quantization_approach: [static, dynamc]
  calibration.methd: [minmax]
  calibration.percentile:
    - 99
    - 40
"""
    assert_found(
        mistakes(text, "max_eval_samples=-1", "nonsense"),
        (1, "token-clasification"),
        (5, "did you mean 'dataset.eval_split'?"),
        (6, "did you mean 'gelu'?"),
        (7, "batch_sizes.1 is 0"),
        (8, "opset 99 is too new"),
        (10, "per_channel is set twice", "bench.yaml:9"),
        (11, "did you mean 'MatMul'?"),
        (13, 'is "dynamc"', "'static', 'dynamic', 'mixed' or 'none'"),
        (14, "did you mean 'calibration.method'?"),
        (17, "calibration.percentile is 40", "must be greater than 50"),
        ("--set nonsense", "must be KEY=VALUE"),
        ("--set max_eval_samples=-1", "max_eval_samples is -1", "must be greater than or equal to 0"),
    )


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("task: [a\nmodel_name_or_path: b\n", 2, "not valid YAML"),
        ("task: a: b\n", 1, "mapping values are not allowed here"),
        ("task: a\n\tb: c\n", 2, "check quotes, colons and indentation"),
        ("task: a\nmetrics: \x07\n", 2, "special characters are not allowed"),
        ("", 1, "must be a YAML mapping such as"),
        ("- task\n", 1, "must be a YAML mapping"),
        ("just text", 1, "must be a YAML mapping"),
        ("task: !!python/name:os.system\n", 1, "could not determine a constructor"),
        ("task: *unknown\n", 1, "undefined alias"),
    ],
)
def test_what_is_no_yaml(text, line, words, mistakes):
    assert_found(mistakes(text), (line, words))


def test_a_date_that_is_none(mistakes, tmp_path):
    assert_found(mistakes("task: 2020-99-99\n"), (str(tmp_path / "bench.yaml"), "not valid YAML", "month"))


def test_deep_nesting(mistakes, tmp_path):
    assert_found(mistakes("task: " + "[" * 2000), (str(tmp_path / "bench.yaml"), "not valid YAML", "recursion"))


def test_aliases_that_multiply(mistakes):
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    text += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    ((_, message),) = mistakes(text)
    assert "remove aliases" in message


def test_merged_mappings_keep_their_lines(mistakes):
    text = HEAD + "calibration: &c {method: minmax}\nbackend:\n  args: {<<: *c, method: entropy}\n  <<: {nam: local}\n"
    assert_found(
        mistakes(text),
        (FIRST + 2, "unknown argument of backend local 'method'"),
        (FIRST + 3, "unknown key 'backend.nam'", "did you mean 'backend.name'?"),
    )


def test_a_file_that_cannot_be_read(tmp_path):
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path, words in (
        (tmp_path / "absent.yaml", "does not exist; give the path of a YAML file"),
        (tmp_path, "cannot be read: Is a directory"),
        (binary, "is not text in UTF-8"),
        (tmp_path / ("x" * 300), "cannot be read: File name too long"),
    ):
        with pytest.raises(BadInput) as caught:
            load_config(path)
        assert str(caught.value) == f"{path}: {words}" or words in str(caught.value)
        assert str(caught.value).startswith(str(path))


# Overrides


def test_overrides_of_every_depth(load):
    config = load(
        HEAD, "per_channel=true", "calibration.method=entropy", "batch_sizes=[1, 8]", "dataset.eval_split=train"
    )
    assert config.base.per_channel is True
    assert config.base.calibration.method == "entropy"
    assert config.base.batch_sizes == (1, 8)
    assert (config.base.dataset.path, config.base.dataset.eval_split) == ("demo", "train")


def test_an_override_of_a_part_keeps_a_data_set_given_by_name(load):
    config = load(HEAD.replace("{path: demo, calibration_split: train}", "demo"), "dataset.calibration_split=train")
    assert config.base.dataset.data_keys == {"primary": "tokens"}
    assert config.base.dataset.calibration_split == "train"


def test_an_override_takes_a_parameter_out_of_the_grid(load):
    text = HEAD + "benchmarked:\n  per_channel: [true, false]\n  calibration.seed: [1, 2]\n"
    config = load(text, "per_channel=true")
    assert [dimension.key for dimension in config.dimensions] == ["calibration.seed"]
    assert load(text, "per_channel=true", "calibration.seed=3").dimensions == ()


def test_an_override_brings_a_parameter_into_the_grid(load):
    text = HEAD + "calibration: {method: minmax, seed: 1}\n"
    config = load(text, "benchmarked.calibration.method=[entropy, minmax]")
    assert [(d.key, d.values) for d in config.dimensions] == [("calibration.method", ("entropy", "minmax"))]
    assert config.base.calibration.seed == 1


def test_the_last_override_of_a_key_counts(load):
    assert load(HEAD, "per_channel=true", "per_channel=false").base.per_channel is False


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("per_channel", "must be KEY=VALUE"),
        ("=true", "must be KEY=VALUE"),
        ("per_chanel=true", "did you mean 'per_channel'?"),
        ("calibration.methd=minmax", "did you mean 'calibration.method'?"),
        ("task.name=a", "unknown key 'task.name'"),
        ("benchmarked.per_chanel=[true]", "did you mean 'per_channel'?"),
        ("benchmarked.per_channel=true", "must be a list of at least one value"),
        ("benchmarked.per_channel=[true, x]", 'per_channel is "x"'),
        ("per_channel=[", "not valid YAML"),
        ("per_channel=", "per_channel is null; must be true or false"),
        ("framework_args.opset=30", "opset 30 is too new"),
        ("node_exclusion=[geluu]", "did you mean 'gelu'?"),
        ("dataset={pth: demo}", "did you mean 'dataset.path'?"),
    ],
)
def test_a_wrong_override_is_named_instead_of_a_line(override, words, mistakes):
    assert_found(mistakes(HEAD, override), (f"--set {override}", words))


# The grid: what is skipped and what is a mistake


def test_a_combination_that_cannot_run_is_skipped_with_its_reason(load):
    text = HEAD + "quantization_approach: static\nbenchmarked:\n"
    plan = make_plan(load(text + "  per_channel: [false, true]\n  framework_args.opset: [11, 17]\n"))
    assert [run.benchmarked for run in plan.runs] == [
        {"per_channel": False, "framework_args.opset": 11},
        {"per_channel": False, "framework_args.opset": 17},
        {"per_channel": True, "framework_args.opset": 17},
    ]
    assert [skipped.benchmarked for skipped in plan.skipped] == [{"per_channel": True, "framework_args.opset": 11}]
    assert "needs opset 13 or newer" in plan.skipped[0].reason


def test_a_value_that_can_never_run_is_a_mistake_at_its_own_line(mistakes):
    text = HEAD + "quantization_approach: static\nbenchmarked:\n  framework_args.opset:\n    - 17\n    - 21\n"
    assert_found(mistakes(text), (FIRST + 4, "opset 21 is too new"))


def test_a_value_forbidden_by_a_fixed_one_is_a_mistake(mistakes):
    text = HEAD + "quantization_approach: static\nper_channel: true\nbenchmarked:\n"
    found = mistakes(text + "  framework_args.opset:\n    - 11\n    - 17\n")
    assert_found(found, (FIRST + 4, "per_channel: true needs opset 13"))


def test_a_rule_that_no_benchmarked_value_can_mend_is_a_mistake_at_the_fixed_line(mistakes):
    text = HEAD + "activation_type: int8\nbenchmarked:\n  per_channel: [false, true]\n"
    assert_found(mistakes(text), (FIRST, "uint8 activations only"))


@pytest.mark.parametrize("line", ["aware_training: true", "pruning: {ffn: 0.2}"])
def test_what_learns_from_examples_needs_a_split_of_them(mistakes, line):
    text = HEAD.replace(", calibration_split: train", "") + line + "\n"
    name = line.partition(":")[0]
    assert_found(mistakes(text), (FIRST, f"{name} needs dataset.calibration_split", f"leave {name} out"))


def test_one_approach_without_a_calibration_split_is_a_mistake(mistakes):
    text = HEAD.replace(", calibration_split: train", "")
    text += "benchmarked:\n  quantization_approach:\n    - dynamic\n    - static\n"
    assert_found(mistakes(text), (FIRST + 3, "needs dataset.calibration_split"))


def test_rules_see_into_a_benchmarked_mapping(load, mistakes):
    text = HEAD + "quantization_approach: static\nper_channel: true\nbenchmarked:\n  framework_args:\n"
    assert_found(mistakes(text + "    - {opset: 17}\n    - {opset: 12}\n"), (FIRST + 5, "needs opset 13"))


def test_a_rule_is_not_judged_by_a_wrong_value(mistakes):
    text = HEAD + "quantization_approach: statc\nactivation_type: int8\n"
    assert_found(mistakes(text), (FIRST, 'is "statc"'))


def test_too_many_combinations(mistakes):
    numbers = list(range(101))
    text = HEAD + f"benchmarked:\n  calibration.seed: {numbers}\n  time_benchmark_args.seed: {numbers}\n"
    assert_found(mistakes(text), (FIRST, "10,201 combinations", "at most 10,000"))


def test_a_benchmarked_data_set_may_be_the_embedded_one(load):
    text = HEAD.replace("dataset: {path: demo, calibration_split: train}\n", "")
    config = load(text + "benchmarked:\n  dataset: [demo, {path: other, data_keys: {primary: words}}]\n")
    demo, other = (run.settings.dataset for run in make_plan(config).runs)
    assert (demo.path, demo.eval_split, demo.data_keys) == ("demo", "test", {"primary": "tokens"})
    assert (other.path, other.eval_split, other.data_keys) == ("other", "validation", {"primary": "words"})


# The reference card

CARD = """\
**task**: `token-classification`
Fixed parameters:
* **model_name_or_path**: `elastic/distilbert-base-uncased-finetuned-conll03-english`
* **dataset**:
    * **path**: `conll2003`
    * **eval_split**: `validation`
    * **data_keys**: `{'primary': 'tokens'}`
    * **ref_keys**: `['ner_tags']`
    * **calibration_split**: `train`
* **quantization_approach**: `static`
* **operators_to_quantize**: `['Add', 'MatMul']`
* **per_channel**: `False`
* **calibration**:
    * **method**: `minmax`
    * **num_calibration_samples**: `100`
* **framework**: `onnxruntime`
* **framework_args**:
    * **opset**: `11`
    * **optimization_level**: `1`
* **aware_training**: `False`
Benchmarked parameters:
* **node_exclusion**: `[]`,  `['layernorm', 'gelu', 'residual', 'gather', 'softmax']`
"""


def test_every_parameter_of_the_reference_card_can_be_pasted_under_its_name(load):
    fixed, _, grid = CARD.partition("Benchmarked parameters:\n")
    pasted = re.sub(r"^( *)\* ", r"\1", fixed.replace("Fixed parameters:\n", ""), flags=re.MULTILINE)
    name, values = re.match(r"\* \*\*(\w+)\*\*: (.*)", grid).groups()
    text = f"{pasted}benchmarked:\n  {name}: [{values}]\n".replace("**", "").replace("`", "")
    config = load(text)
    expected = yaml.safe_load(pasted.replace("**", "").replace("`", ""))
    made = config.base.model_dump(mode="json", include=set(expected), exclude_unset=True)
    assert made.pop("framework_args").items() >= expected.pop("framework_args").items()
    assert made == expected
    assert [(d.key, d.values) for d in config.dimensions] == [
        ("node_exclusion", ([], ["layernorm", "gelu", "residual", "gather", "softmax"]))
    ]


# Round trip

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
GROUPS = st.lists(st.sampled_from(["layernorm", "gelu", "residual?", "gather", "softmax"]), unique=True, max_size=3)
SIZES = st.lists(st.integers(1, 512), min_size=1, max_size=3)
SEEDS = st.integers(0, 2**70)
FLOATS = st.floats(min_value=1e-6, max_value=1e6, allow_nan=False)
VALUES = {
    "metrics": st.sampled_from([[], ["seqeval"]]),
    "max_eval_samples": st.none() | st.integers(1, 9999),
    "operators_to_quantize": st.sampled_from([["MatMul"], ["Add", "MatMul"], ["Gather"]]),
    "node_exclusion": GROUPS,
    "per_channel": st.booleans(),
    "weight_type": st.sampled_from(["auto", "uint8", "int8"]),
    "framework_args.opset": st.integers(13, 20),
    "framework_args.optimization_level": st.sampled_from([0, 1, 2, 99]),
    "calibration.seed": SEEDS,
    "calibration.percentile": st.floats(50.5, 100),
    "calibration.averaging_constant": st.floats(1e-300, 1),
    "calibration.padding": st.sampled_from(["none", "max_length"]),
    "batch_sizes": SIZES,
    "input_lengths": SIZES,
    "time_benchmark_args.duration": FLOATS | st.integers(1, 60),
    "dataset.name": st.none() | TEXT,
    "dataset.revision": st.none() | TEXT,
    "dataset.label_map": st.dictionaries(TEXT, TEXT, max_size=2),
    "backend.args": st.sampled_from([{}, {"supported_instructions": None}, {"supported_instructions": "avx512"}]),
    "model_name_or_path": TEXT,
}
NORMAL = dict(VALUES) | {"dataset.path": TEXT.filter(lambda path: path != "demo")}


@st.composite
def configurations(draw):
    """Plain data of valid configurations: some parameters fixed, some benchmarked, the rest left out."""
    keys = draw(st.permutations(list(NORMAL)))
    grid_size = draw(st.integers(0, 3))
    data = {"task": "token-classification", "dataset": {"calibration_split": "train", "ref_keys": ["tags"]}}
    data["quantization_approach"] = draw(st.sampled_from(["static", "dynamic"]))
    grid = {}
    for key in keys[:grid_size]:
        unique = {
            repr(Settings.model_validate(_with(key, v))): v for v in draw(st.lists(NORMAL[key], min_size=1, max_size=3))
        }
        grid[key] = list(unique.values())
    fixed = keys[grid_size : grid_size + draw(st.integers(0, 6))]
    for key in dict.fromkeys([*fixed, "model_name_or_path", "dataset.path"]):
        if key not in grid:
            data = _put(data, key, draw(NORMAL[key]))
    return data | ({"benchmarked": grid} if grid else {})


def _with(key, value):
    base = {"task": "t", "model_name_or_path": "m", "dataset": {"path": "p"}}
    return _put(base, key, value)


def _put(data, key, value):
    head, _, rest = key.partition(".")
    return {**data, head: _put(data.get(head, {}), rest, value) if rest else value}


@given(data=configurations())
@settings(max_examples=80, suppress_health_check=list(HealthCheck))
def test_a_dumped_configuration_is_read_back_equal(data, tmp_path_factory):
    config = build_config(data, {}, "somewhere")
    path = tmp_path_factory.getbasetemp() / "dumped.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    again = load_config(path)
    assert again.model_dump(mode="json") == config.model_dump(mode="json")
    assert [run.key for run in make_plan(again).runs] == [run.key for run in make_plan(config).runs]
    assert dump_config(again) == dump_config(config)


@given(text=st.text(max_size=60) | st.text("abc:{}[]&*!|>-\n #'\"%@`,?<", max_size=40))
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
def test_any_text_is_a_configuration_or_bad_input(text, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(BadInput):
        load_config(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.integers(), inner, max_size=3),
    max_leaves=5,
)


@given(key=st.sampled_from([*NORMAL, "calibration", "dataset", "benchmarked", "framework", "task"]), value=JSON)
@settings(max_examples=120, suppress_health_check=list(HealthCheck))
def test_any_value_anywhere_is_valid_or_bad_input(key, value):
    base = {"task": "token-classification", "model_name_or_path": "m", "dataset": {"path": "p"}}
    for data in (
        _put(base, key, value),
        {**base, "benchmarked": {key: [value]}},
        {**base, "benchmarked": {key: value}},
    ):
        try:
            config = build_config(data, {}, "somewhere")
        except BadInput as error:
            assert error.mistakes
        else:
            assert make_plan(config).runs
            assert math.isfinite(config.base.time_benchmark_args.duration)


# Keys of the user's own, which may have dots

NODE = "/bert/encoder/layer.0/attention/self/query/MatMul"
MIXED = f"{HEAD}quantization_approach: mixed\n"


def test_an_override_reaches_a_node_with_dots_in_its_name(load):
    config = load(MIXED, f"placement.matmuls.{NODE}=float", "placement.matmuls./layer.1/*=static")
    assert config.base.placement.matmuls == {NODE: "float", "/layer.1/*": "static"}


def test_a_wrong_value_of_such_a_node_is_told_where_it_was_set(mistakes):
    option = f"placement.matmuls.{NODE}=int4"
    assert_found(mistakes(MIXED, option), (f"--set {option}", NODE, "int4", "'float', 'dynamic' or 'static'"))
    written = f"{MIXED}placement:\n  matmuls:\n    {NODE}: int4\n"
    assert_found(mistakes(written), (FIRST + 3, NODE, "int4"))


def test_nodes_with_dots_in_their_names_may_be_benchmarked(load):
    other = f"{NODE}.1"
    grid = (
        f"benchmarked:\n  placement.matmuls.{NODE}: [float, dynamic]\n  placement.matmuls.{other}: [float, dynamic]\n"
    )
    config = load(MIXED + grid)
    runs = make_plan(config).runs
    assert [run.settings.placement.matmuls for run in runs] == [
        {NODE: one, other: two} for one in ("float", "dynamic") for two in ("float", "dynamic")
    ]
    assert len({run.name for run in runs}) == 4
    assert load(dump_config(config)).model_dump() == config.model_dump()
    fixed = load(MIXED + grid, f"placement.matmuls.{NODE}=float")
    assert [run.settings.placement.matmuls[NODE] for run in make_plan(fixed).runs] == ["float", "float"]


@pytest.mark.parametrize("key", ["dataset.label_map", "dataset.data_keys"])
def test_labels_and_columns_with_dots_are_one_name(key, load):
    config = load(HEAD, f"{key}.{'primary' if key == 'dataset.data_keys' else 'B-A.B'}=meta.text")
    assert "meta.text" in getattr(config.base.dataset, key.rpartition(".")[2]).values()
    if key == "dataset.label_map":
        assert config.base.dataset.label_map == {"B-A.B": "meta.text"}


def test_arguments_of_a_backend_may_hold_mappings_of_names_with_dots(load):
    config = load(HEAD, "backend.name=ray", "backend.args.labels.ray.io/accelerator=none", "backend.args.retries=1")
    assert config.base.backend.args == {"labels": {"ray.io/accelerator": "none"}, "retries": 1}


def test_nothing_stands_inside_of_a_value_that_is_no_mapping(mistakes):
    assert_found(mistakes(HEAD, "per_channel.x=1"), ("--set per_channel.x=1", "unknown key"))
    assert_found(mistakes(HEAD, "placement.matmuls.=float"), ("--set placement.matmuls.=float", "unknown key"))


def test_a_benchmarked_framework_that_there_is_not_is_one_mistake():
    base = {"task": "token-classification", "model_name_or_path": "m", "dataset": {"path": "p"}}
    with pytest.raises(BadInput, match="unknown framework 'abc'"):
        build_config({**base, "benchmarked": {"framework": ["abc"]}}, {}, "somewhere")
