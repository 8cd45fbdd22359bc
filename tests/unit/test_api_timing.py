"""Any ONNX files timed against each other, and what is refused in words."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import quantbench as qb
from quantbench.api import drawn
from quantbench.system import cache
from quantbench.timing import session

INT, FLOAT = TensorProto.INT64, TensorProto.FLOAT
SHORT = {"duration": 0.2, "warmup_runs": 1, "precision": 0.9, "num_threads": 1}


def write(path, width=8, names=("input_ids", "attention_mask"), kind=INT, axes=("batch", "length"), layers=1):
    """Embeddings of the first input, times the mask, through so many products; more layers are slower."""
    table = np.random.default_rng(0).random((64, width), dtype=np.float32)
    weights = {"table": table, "square": np.eye(width, dtype=np.float32), "axis": np.array([2])}
    nodes = [helper.make_node("Gather", ["table", names[0]], ["h0"])]
    nodes += [helper.make_node("MatMul", [f"h{n}", "square"], [f"h{n + 1}"]) for n in range(layers)]
    if len(names) > 1:
        nodes += [
            helper.make_node("Cast", [names[1]], ["mask"], to=FLOAT),
            helper.make_node("Unsqueeze", ["mask", "axis"], ["wide"]),
            helper.make_node("Mul", [f"h{layers}", "wide"], ["y"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", [f"h{layers}"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, list(axes)) for name in names],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def write_image(path):
    graph = helper.make_graph(
        [helper.make_node("Relu", ["pixel_values"], ["y"])],
        "g",
        [helper.make_tensor_value_info("pixel_values", FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", FLOAT, ["batch", 3, 8, 8])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_files_are_timed_in_the_same_rounds_beside_a_null_arm(tmp_path):
    files = {"small": write(tmp_path / "a.onnx"), "large": write(tmp_path / "b.onnx", width=64, layers=40)}
    timing = qb.time(files, shapes=[(1, 16), (2, 32)], **SHORT)
    assert [(latency.batch_size, latency.input_length) for latency in timing.latencies] == [(1, 16), (2, 32)]
    for latency in timing.latencies:
        assert set(latency.arms) == {"pytorch", "null", "1"}
        rounds = [{(slot.launch, slot.round) for slot in arm.slots} for arm in latency.arms.values()]
        assert rounds[0] & rounds[1] & rounds[2], "slots are neighbours in time"
    found = timing.speedups()
    assert list(found) == ["1 × 16", "2 × 32"]
    assert [list(models) for models in found.values()] == [["large"], ["large"]]
    frame = timing.to_dataframe()
    assert list(frame["model"]) == ["small", "large"] * 2
    large = frame[frame["model"] == "large"]
    assert list(large["speedup"]) == [models["large"].ratio for models in found.values()]
    assert list(large["verdict"]) == [models["large"].verdict for models in found.values()]
    assert set(timing.to_dataframe("calls")["arm"]) == {"small", "small, again", "large"}
    text = timing._repr_markdown_()
    assert "over small" in text
    assert text.count("`large`") == 2
    assert repr(timing) == "<Timing of small, large at 1 × 16, 2 × 32>"


def test_images_have_a_batch_size_alone(tmp_path):
    files = {"one": write_image(tmp_path / "a.onnx"), "other": write_image(tmp_path / "b.onnx")}
    (shape,) = drawn.shapes(files, [(2,)], 0)
    assert shape.batches[0]["pixel_values"].shape == (2, 3, 8, 8)
    assert shape.batches[0]["pixel_values"].dtype == np.float32
    with pytest.raises(qb.BadInput, match=r"no input has the length 128; there is: pixel_values \[2, 3, 8, 8\]"):
        qb.time(files, shapes=[(2, 128)])


def test_inputs_are_drawn_by_name_and_type(tmp_path):
    files = {name: write(tmp_path / f"{name}.onnx") for name in "ab"}
    (shape,) = drawn.shapes(files, [(2, 5)], seed=3)
    (batch,) = shape.batches
    assert (batch["attention_mask"] == 1).all()
    assert batch["input_ids"].shape == (2, 5)
    assert 0 <= batch["input_ids"].min() <= batch["input_ids"].max() < drawn.HIGHEST
    assert len(np.unique(batch["input_ids"])) > 1
    (again,) = drawn.shapes(files, [(2, 5)], seed=3)
    assert (again.batches[0]["input_ids"] == batch["input_ids"]).all()


def refused(files, **options):
    with pytest.raises(qb.BadInput) as caught:
        qb.time(files, **options)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_what_cannot_be_timed_is_refused_in_words(tmp_path):
    good = write(tmp_path / "good.onnx")
    (tmp_path / "bad.onnx").write_text("no model")
    told = refused({"good": good, "bad": tmp_path / "bad.onnx", "none": tmp_path / "none.onnx"})
    assert [text.split(":")[0] for text in told] == [f"bad ({tmp_path}/bad.onnx)", f"none ({tmp_path}/none.onnx)"]
    assert "ONNX Runtime cannot load it: " in told[0]
    assert told[1].endswith("there is no such file")
    (told,) = refused({"good": good, "less": write(tmp_path / "less.onnx", names=("input_ids",))})
    assert told.startswith("less: takes other inputs than good: input_ids int64 [1, 128] against attention_mask int64")
    (told,) = refused({"good": good, "narrow": write(tmp_path / "narrow.onnx", kind=TensorProto.INT32)})
    assert "input_ids int32 [1, 128] against" in told
    told = refused({"fixed": write(tmp_path / "fixed.onnx", axes=(1, 128)), "good": good}, shapes=[(2, 128)])
    assert "fixed: its input input_ids takes batches of 1 only, not of 2" in told
    (told,) = refused({"fixed": write(tmp_path / "fixed.onnx", axes=("b", 128)), "good": good}, shapes=[(2, 64)])
    assert "no input has the length 64" in told
    told = refused({"a": good, "b": good}, shapes=[(2,)])
    assert "a: its input input_ids has a free length; name one: (2, 128)" in told


def test_tokens_beyond_a_vocabulary_are_refused_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr(drawn, "HIGHEST", 1000)
    files = {name: write(tmp_path / f"{name}.onnx") for name in "ab"}
    (told,) = refused(files)
    assert told.startswith("a: ONNX Runtime cannot run it on drawn inputs (attention_mask int64 [1, 128], input_ids")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"duration": 0}, "duration: "),
        ({"num_threads": 4096}, "num_threads: num_threads is 4096, but no more than"),
        ({"shapes": []}, "shapes: is empty"),
        ({"shapes": [(1, 2, 3)]}, "shapes: (1, 2, 3): must be (batch size, input length)"),
        ({"shapes": [(0, 8)]}, "shapes: (0, 8): must be"),
        ({"shapes": [8]}, "shapes: 8: must be"),
    ],
)
def test_arguments_of_no_use_are_refused(tmp_path, options, words):
    file = write(tmp_path / "a.onnx")
    (told,) = refused({"a": file, "b": file}, **options)
    assert told.startswith(words)


def test_the_machine_is_held_while_files_are_timed(tmp_path, monkeypatch):
    held = []

    def stopped(*_, **__):
        held.append(bool(cache._held))
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "time_arms", stopped)
    with pytest.raises(KeyboardInterrupt):
        qb.time({name: write(tmp_path / f"{name}.onnx") for name in "ab"}, **SHORT)
    assert held == [True]
    assert not cache._held


def test_a_model_whose_process_dies_is_named(tmp_path, monkeypatch):
    failures = {"1": "arm 1 was killed by SIGKILL (out of memory?)"}
    monkeypatch.setattr(session, "time_arms", lambda *_, **__: session.Timings([], failures))
    with pytest.raises(qb.ArmFailed, match="b cannot be timed: arm 1 was killed by SIGKILL"):
        qb.time({name: write(tmp_path / f"{name}.onnx") for name in "ab"}, **SHORT)


def test_one_file_alone_has_nothing_to_be_compared_with(tmp_path):
    assert refused({"a": write(tmp_path / "a.onnx")}) == [
        "models: needs at least two files to compare, by names of your own"
    ]
