"""Options that plug-ins have of their own, of which nothing else knows the names."""

import types
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

import quantbench as qb
from quantbench.config import rules
from quantbench.config.keys import is_parameter, parts
from quantbench.config.load import build_config, dump_config, load_config
from quantbench.config.plan import make_plan
from quantbench.errors import BadInput
from quantbench.plugins import options, registry
from quantbench.plugins.arguments import OnEveryCard
from quantbench.plugins.options import typed
from quantbench.runtimes import onnxruntime
from quantbench.schema.base import Record
from quantbench.schema.settings import Flag, FrameworkArgs, Positive, Settings, TaskArgs
from quantbench.tasks import feature_extraction, text_classification

BASE = {
    "task": "token-classification",
    "model_name_or_path": "m",
    "dataset": {"path": "p", "calibration_split": "train"},
}


class Cache(Record):
    """A record within options."""

    size: Positive = 8
    names: dict[str, str] = Field(default_factory=dict)


class First(FrameworkArgs, extra="forbid"):
    """Options of one runtime."""

    level: Positive = 1
    threads: Annotated[tuple[int, ...], OnEveryCard()] = (1, 2)
    cache: Cache = Cache()


class Second(FrameworkArgs, extra="forbid"):
    """Options of another, two of which have the names of the first's."""

    level: Literal["low", "high"] = "low"
    cache: Cache = Cache(size=16)
    quick: Flag = False


@pytest.fixture(autouse=True)
def two_runtimes(monkeypatch):
    """Two more runtimes, as packages of others bring them."""
    kept = {"names": registry.names, "runtime": registry.runtime}
    plain = {**vars(onnxruntime), "RULES": (), "QUANTIZERS": {"none": "none"}, "OPERATORS": {"none": ()}}
    made = {
        name: types.SimpleNamespace(
            **{**plain, "Args": args, "options": lambda settings, args=args: typed(args, settings).model_dump()}
        )
        for name, args in (("first", First), ("second", Second))
    }
    monkeypatch.setattr(registry, "names", lambda kind: (*kept["names"](kind), *(made if kind == "runtimes" else ())))
    monkeypatch.setattr(registry, "runtime", lambda name: made.get(name) or kept["runtime"](name))
    for cached in (rules.all_rules, rules._fitting_rules, parts):
        cached.cache_clear()
    yield
    for cached in (rules.all_rules, rules._fitting_rules, parts):
        cached.cache_clear()


def config(**changes):
    return build_config({**BASE, "quantization_approach": "none", **changes}, {}, "x.yaml")


def refused(tmp_path, text):
    path = tmp_path / "own.yaml"
    head = "task: token-classification\nmodel_name_or_path: m\ndataset: p\nquantization_approach: none\n"
    path.write_text(head + text)
    with pytest.raises(BadInput) as caught:
        load_config(path)
    return [str(mistake).removeprefix(f"{tmp_path}/own.yaml:") for mistake in caught.value.mistakes]


def test_a_plugin_is_given_its_own_options_typed_and_complete():
    base = config(framework="first", framework_args={"threads": [3], "opset": 13, "cache": {"size": 4}}).base
    args = typed(First, base)
    assert (args.level, args.threads, args.cache, args.opset) == (1, (3,), Cache(size=4), 13)
    assert base.framework_args.model_dump() == {
        "opset": 13,
        "precision": "float32",
        "level": 1,
        "threads": [3],
        "cache": {"size": 4, "names": {}},
    }
    assert typed(onnxruntime.Args, base) == onnxruntime.Args(opset=13), "options are for the runtime that is named"


def test_options_go_through_files_and_results(tmp_path):
    made = config(framework="first", framework_args={"level": 3, "cache": {"names": {"a.b": "c"}}})
    [run] = make_plan(made).runs
    assert Settings.model_validate_json(run.settings.model_dump_json()) == run.settings
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(made))
    assert "threads" in path.read_text(), "every default is spelled out"
    assert load_config(path).model_dump() == made.model_dump()


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("framework: first\nframework_args:\n  opset: 13\n  level: high", '8: framework_args.level is "high"'),
        ("framework: second\nframework_args: {level: 3}", "6: framework_args.level is 3; must be 'low' or 'high'"),
        ("framework: first\nframework_args:\n  cache:\n    size: no", "8: framework_args.cache.size is"),
        ("framework: first\nframework_args:\n  threads:\n  - 1\n  - x", '9: framework_args.threads.1 is "x"'),
        ("framework: first\nframework_args:\n  threds: [1]", "did you mean 'framework_args.threads'?"),
        ("framework: first\nframework_args: {cache: {sise: 3}}", "did you mean 'framework_args.cache.size'?"),
        (
            "framework: first\nframework_args: {quick: true}",
            "6: framework_args.quick belongs to framework second, not f",
        ),
        ("framework_args: {threads: [9]}", "5: framework_args.threads belongs to framework first, not onnxruntime"),
        ("framework_args: {level: 0.5}", "5: framework_args.level is 0.5"),
        ("framework: first\nbenchmarked:\n  framework_args.level:\n  - 1\n  - -2", "9: framework_args.level is -2"),
        ("framework_args: [level]", "must be a mapping of parameters to values"),
        ("task_args: {level: 3}", "unknown key 'task_args.level'"),
    ],
)
def test_a_mistake_in_an_option_is_told_where_it_stands(tmp_path, text, mistake):
    [told] = refused(tmp_path, text)
    assert mistake in told


def test_in_a_grid_a_value_runs_with_the_plugins_that_take_it(tmp_path):
    grid = {"framework": ["first", "second"], "framework_args.level": [2, "high"]}
    plan = make_plan(config(benchmarked=grid))
    assert [list(run.benchmarked.values()) for run in plan.runs] == [["first", 2], ["second", "high"]]
    assert {skipped.reason for skipped in plan.skipped} == {
        'framework_args.level is "high"; must be a whole number',
        "framework_args.level is 2; must be 'low' or 'high'",
    }
    [told] = refused(
        tmp_path, "benchmarked:\n  framework: [first, second]\n  framework_args.level:\n  - 2\n  - other\n  - low"
    )
    assert told.startswith('9: framework_args.level is "other"')


def test_plugins_of_a_grid_have_their_own_defaults_each(tmp_path):
    made = config(framework_args={"opset": 13}, benchmarked={"framework": ["first", "second", "onnxruntime"]})
    dumps = [run.settings.framework_args.model_dump() for run in make_plan(made).runs]
    assert [data.get("level") for data in dumps] == [1, "low", None]
    assert [data.get("cache", {}).get("size") for data in dumps] == [8, 16, None]
    assert [data.get("quick") for data in dumps] == [None, False, None]
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(made))
    assert make_plan(load_config(path)) == make_plan(made)


def test_a_value_that_is_one_plugins_default_is_another_ones_choice():
    made = config(framework_args={"cache": {"size": 8}}, benchmarked={"framework": ["first", "second"]})
    sizes = [
        typed(kind, run.settings).cache.size for kind, run in zip((First, Second), make_plan(made).runs, strict=True)
    ]
    assert sizes == [8, 8]


def test_spelling_out_defaults_changes_neither_key_nor_configuration():
    plain = config(framework="first")
    for given in ({"level": 1}, {"threads": [1, 2], "cache": {}}, {"quick": False}, {"optimization_level": 99}):
        spelled = config(framework="first", framework_args=given)
        assert spelled.model_dump() == plain.model_dump()
        assert make_plan(spelled).runs[0].key == make_plan(plain).runs[0].key
    assert make_plan(config(framework="first", framework_args={"level": 2})).runs[0].key != make_plan(plain).runs[0].key


def test_two_values_that_say_the_same_are_told():
    with pytest.raises(BadInput, match="has the value"):
        config(framework="first", benchmarked={"framework_args": [{"level": 1}, {"quick": False}]})


def test_options_stand_on_the_card_where_they_say_something():
    render = registry.report("card").render
    card = render(config(framework="first", framework_args={"cache": {"size": 4}}), [], ())
    block = card.partition("* **framework_args**:")[2].partition("\n* ")[0]
    assert block.split("\n")[1:] == [
        *("    * **opset**: `17`", "    * **threads**: `[1, 2]`"),
        "    * **cache.size**: `4`",
    ]
    both = render(config(framework_args={"cache": {"size": 8}}, benchmarked={"framework": ["first", "second"]}), [], ())
    assert "    * **cache**: `{'size': 8, 'names': {}}`" in both, "what is one's default is the other's choice"
    assert "level" not in both


def test_dotted_keys_lead_into_the_options_of_every_plugin():
    for key in ("level", "cache", "cache.size", "cache.names.a.b", "session_options.allow_spinning", "preset"):
        assert is_parameter(f"framework_args.{key}")
    assert not is_parameter("framework_args.cache.colour")
    assert not is_parameter("framework_args.level.x")
    assert parts("framework_args.cache.names.a.b") == ("framework_args", "cache", "names", "a.b")


def test_an_option_can_be_overridden_and_benchmarked_on_the_command_line(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(dump_config(config(framework="first")))
    made = load_config(path, ["framework_args.cache.size=3", "benchmarked.framework_args.level=[1, 5]"])
    assert [typed(First, run.settings).level for run in make_plan(made).runs] == [1, 5]
    assert typed(First, made.base).cache.size == 3


def test_a_task_that_builds_on_another_keeps_the_others_options(monkeypatch):
    class Args(text_classification.Args, extra="forbid"):
        """One more."""

        other: Flag = False

    task = types.SimpleNamespace(**{**vars(text_classification), "Args": Args})
    monkeypatch.setattr(registry, "task", lambda name: task)
    settings = Settings(
        task="text-classification",
        model_name_or_path="m",
        dataset={"path": "p"},
        task_args={"is_multi_label": True, "other": True},
    )
    assert typed(text_classification.Args, settings) == text_classification.Args(is_multi_label=True)
    assert typed(Args, settings).other
    assert typed(feature_extraction.Args, settings) == feature_extraction.Args()


def test_records_of_options_are_as_good_as_what_they_hold():
    given = text_classification.Args(is_multi_label=True)
    settings = Settings(task="text-classification", model_name_or_path="m", dataset={"path": "p"}, task_args=given)
    assert type(settings.task_args) is TaskArgs
    assert settings.model_dump()["task_args"] == given.model_dump()


class Any(FrameworkArgs):
    """Takes everything."""


class Changed(FrameworkArgs, extra="forbid"):
    """Its opset is another."""

    opset: int = 13


class Needs(FrameworkArgs, extra="forbid"):
    """Has no default."""

    path: str


@pytest.mark.parametrize(
    ("args", "fault"),
    [
        (Any, "takes any option"),
        (Changed, "another opset than all have"),
        (Needs, "no default for path"),
        (TaskArgs, "must be a class below FrameworkArgs"),
        (("opset",), "must be a class below FrameworkArgs"),
    ],
)
def test_options_that_do_not_conform_are_told(args, fault):
    with pytest.raises(qb.NotConforming, match=fault):
        qb.check_runtime(types.SimpleNamespace(**{**vars(onnxruntime), "Args": args}))


@pytest.mark.parametrize("place", options.PLACES, ids=lambda place: place.key)
def test_every_option_stands_in_the_reference(place):
    page = (Path(__file__).parents[2] / "docs" / "reference" / "parameters.md").read_text()
    known = [name for name in registry.names(place.kind) if name not in ("first", "second")]
    for name in known:
        assert all(f"`{option}`" in page for option in options.own_fields(place.args(name))), name
