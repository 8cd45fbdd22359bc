"""`quantbench check` on planted files: good ones, silently broken ones and those that do not load, none judged wrongly."""

import json
import os
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from tests.support import planted, tiny_tasks
from tests.support.command import quantbench
from tests.support.planted import changed, set_to

import quantbench as qb
from quantbench import embedded

UNTIMED = {"batch_sizes": []}
SOON = {"time_benchmark_args": {"duration": 0.2, "warmup_runs": 1, "precision": 0.9}}


def first(change):
    """Change the first matrix of the float export."""

    def write(model):
        tensor = planted.weights(model)[0]
        set_to(tensor, change(onnx.numpy_helper.to_array(tensor).copy()))

    return changed(write)


def every(change):
    """Change all matrices of the float export."""

    def write(model):
        for place, tensor in enumerate(planted.weights(model)):
            set_to(tensor, change(onnx.numpy_helper.to_array(tensor), np.random.default_rng(place)))

    return changed(write)


def with_nan(array):
    array[0] = np.nan
    return array


def other_words(model):
    """Rows of the table of embeddings of words stand elsewhere."""
    table = next(item for item in model.graph.initializer if "word_embeddings" in item.name)
    set_to(table, np.roll(onnx.numpy_helper.to_array(table), 7, axis=0))


def newer(model):
    model.opset_import[0].version = 99


def unknown(model):
    next(node for node in model.graph.node if node.op_type == "Softmax").op_type = "Softmaximum"


def frozen(model):
    return planted.behind("Reshape", np.array([1, 3]))(model)


TYPES = ["batch_size", "sequence_length"]
GOOD, BAD = "keeps", "worse"
TEXTS = {
    # good ones: name, what writes it, verdict, what is said of it
    "float": (planted.copied, GOOD, "nothing"),
    "opset-11": (lambda root, path: planted.export(root / "model", path, opset=11), GOOD, ""),
    "dynamic": (planted.dynamic(), GOOD, "MatMul .*ranges found when it is run"),
    "dynamic-per-channel": (planted.dynamic(per_channel=True), GOOD, "MatMul"),
    "static-qdq": (planted.static(), GOOD, "MatMul .*fixed ranges"),
    "static-qoperator": (planted.static("QOperator"), GOOD, "MatMul"),
    "fp16": (changed(planted.half(keep_io=False)), GOOD, "float16"),
    "fp16-float-outputs": (changed(planted.half(keep_io=True)), GOOD, "float16"),
    "q4": (planted.q4, GOOD, "weights alone: MatMul"),
    "optimized": (planted.optimized, GOOD, ""),
    "int32": (changed(planted.int32), GOOD, ""),
    "renamed": (
        changed(lambda m: planted.rename(m, {"input_ids": "x.1", "attention_mask": "x.2", "logits": "y"})),
        GOOD,
        r"x\.1 as input_ids, x\.2 as attention_mask",
    ),
    "named-by-tensorflow": (
        changed(lambda m: planted.rename(m, {"input_ids": "serving_input_ids:0", "attention_mask": "input_mask:0"})),
        GOOD,
        "input_mask:0 as attention_mask",
    ),
    "extra-output": (changed(planted.hidden_states(alone=False)), GOOD, "logits is read of its 2 outputs"),
    "extra-input": (changed(planted.extra_input("token_type_ids", TensorProto.INT64, TYPES)), GOOD, ""),
    "mask-made-inside": (changed(planted.no_mask(made_inside=True)), GOOD, "takes no attention_mask"),
    "one-by-one": (changed(planted.sized(1, None)), GOOD, "takes 1 row at a time"),
    "64-tokens": (changed(planted.sized(None, 64)), GOOD, "takes 64 tokens"),
    "4-of-64-tokens": (changed(planted.sized(4, 64)), GOOD, "takes 4 rows at a time"),
    "16-tokens": (changed(planted.sized(None, 16)), GOOD, "examples are longer"),
    "external": (planted.beside, GOOD, ""),
    "ir.xml": (planted.ir, GOOD, ""),
    "int8-ir.xml": (planted.int8_ir, GOOD, r"runs .*\[[ui]8\]"),
    # silently broken ones
    "narrow": (planted.narrow, BAD, "too narrow"),
    "wrong-scale": (planted.wrong_scale, BAD, ""),
    "zeroed": (every(lambda array, _: array * 0), BAD, ""),
    "nan": (first(with_nan), BAD, "NaN"),
    "infinite": (changed(planted.behind("Mul", np.float32(3e38))), BAD, ""),
    "noisy": (every(lambda array, draws: array + draws.normal(0, 0.5, array.shape).astype(array.dtype)), BAD, ""),
    "other-labels": (changed(planted.behind("Gather", np.array([1, 2, 0]), axis=1)), BAD, ""),
    "negative": (changed(planted.behind("Mul", np.float32(-1))), BAD, ""),
    "other-words": (changed(other_words), BAD, ""),
    "without-mask": (changed(planted.no_mask(made_inside=False)), BAD, "depend on padding"),
    "mask-ignored": (changed(planted.mask_ignored), BAD, "depend on padding"),
    "other-model": (planted.other_model, BAD, ""),
    # files that are no form of the original, or cannot be run
    "two-labels": (changed(planted.behind("Gather", np.array([0, 1]), axis=1)), "not judged", "2 × 2"),
    "no-logits": (changed(planted.hidden_states(alone=True)), "not judged", "logits .* is wanted"),
    "strings": (changed(planted.extra_input("text", TensorProto.STRING, ["n"])), "not judged", "string"),
    "decoder": (
        changed(planted.extra_input("past_key_values.0.key", TensorProto.FLOAT, ["n", 4, "past", 8])),
        "not judged",
        "no encoder alone",
    ),
    "3-tokens": (changed(planted.sized(None, 3)), "not judged", "every example has more"),
    "other-vocabulary": (planted.other_words_known, "not judged", "cannot be run: InvalidArgument"),
    "frozen": (changed(frozen), "not judged", "cannot be run"),
    # files that do not load
    "cut-off": (
        planted.then(planted.copied, lambda p: p.write_bytes(p.read_bytes()[:5000])),
        "does not load",
        "damaged",
    ),
    "empty": (planted.of_bytes(b""), "does not load", "empty"),
    "text": (planted.of_bytes(b"This is no model.\n" * 9), "does not load", "damaged, or no .onnx file"),
    "pointer": (
        planted.of_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "does not load",
        "git lfs pull",
    ),
    "lost-weights": (
        planted.then(planted.beside, lambda p: Path(f"{p}_data").unlink()),
        "does not load",
        "lost-weights.onnx_data, which is not beside it",
    ),
    "cut-off-weights": (
        planted.then(planted.beside, lambda p: Path(f"{p}_data").write_bytes(b"0" * 99)),
        "does not load",
        "cut off: 99 of",
    ),
    "opset-99": (changed(newer), "does not load", "99"),
    "unknown-operator": (changed(unknown), "does not load", "Softmaximum"),
    "bfloat16": (changed(planted.bfloat16), "does not load", ""),
    "ir-without-weights.xml": (
        planted.then(planted.ir, lambda p: p.with_suffix(".bin").unlink()),
        "does not load",
        "which is not beside it",
    ),
    "no-ir.xml": (planted.of_bytes(b"<project><name>a</name></project>"), "does not load", "no network"),
    "tensorflow.pb": (planted.of_bytes(b"\x0a\x00"), "does not load", "TensorFlow"),
    "notes.txt": (planted.of_bytes(b"notes"), "does not load", "no model file"),
}
SOME = ("float", "mask-ignored", "two-labels", "cut-off", "tensorflow.pb")
"""Those that every call of the tests looks at; the others are slow together."""


def called(name):
    return name if "." in name else f"{name}.onnx"


def write(table, names, root, folder):
    folder.mkdir()
    for name in names:
        table[name][0](root, folder / called(name))
    return [folder / called(name) for name in names]


def told(check):
    """By file, its verdict and all that is said of it."""
    text = check._repr_markdown_()
    lines = text.splitlines()
    return {
        found.path.name: (
            found.verdict,
            "\n".join(line for line in lines if found.path.name in line) + text.partition("## Why")[2],
        )
        for found in check.files
    }


@pytest.fixture(scope="module")
def topics(tmp_path_factory):
    return planted.write_topics(tmp_path_factory.mktemp("topics"))


@pytest.fixture(scope="module")
def some(topics):
    files = write(TEXTS, SOME, topics, topics / "some")
    return qb.check(files, original=topics / "model", data=topics / "texts.csv", set=UNTIMED, out=topics / "out")


@pytest.fixture(scope="module")
def others(topics):
    files = write(TEXTS, [name for name in TEXTS if name not in SOME], topics, topics / "others")
    return told(qb.check(files, original=topics / "model", data=topics / "texts.csv", set=UNTIMED))


def right(name, found, table=TEXTS):
    _, verdict, said = table[name]
    assert found[called(name)][0] == verdict, found[called(name)][1]
    assert re.search(said, found[called(name)][1]), found[called(name)][1]


@pytest.mark.parametrize("name", SOME)
def test_a_file_is_judged_rightly(name, some):
    right(name, told(some))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TEXTS if name not in SOME])
def test_every_planted_file_is_judged_rightly(name, others):
    right(name, others)


EMBEDDINGS = {
    "states": (planted.copied, GOOD, ""),
    "pooled": (changed(planted.pooled("mean")), GOOD, "sentence_embedding is read of its 2 outputs"),
    "pooled-alone": (changed(planted.pooled("mean", normalized=False, alone=True)), GOOD, "are not normalized, unlike"),
    "pooled-unnamed": (changed(planted.pooled("mean", alone=True, called="output_0")), GOOD, ""),
    "pooled-16-tokens": (changed(lambda m: planted.sized(None, 16)(m) or planted.pooled("mean")(m)), GOOD, "longer"),
    "cls": (changed(planted.pooled("cls", alone=True)), BAD, ""),
    "plain-mean": (changed(planted.plain_mean), BAD, "depend on padding"),
}
PAIRS = {
    "float": (planted.copied, GOOD, ""),
    "without-token-types": (changed(planted.without_token_types), BAD, "takes no token_type_ids"),
    "renamed": (
        changed(lambda m: planted.rename(m, {item.name: f"x{place}" for place, item in enumerate(m.graph.input)})),
        GOOD,
        "x1 as token_type_ids",
    ),
}
SPANS = {"start_logits": {0: "batch_size", 1: "sequence_length"}, "end_logits": {0: "batch_size", 1: "sequence_length"}}
QUESTIONS = {
    "float": (planted.copied, GOOD, ""),
    "unnamed": (changed(lambda m: planted.rename(m, {"start_logits": "a", "end_logits": "b"})), GOOD, ""),
    "other-order": (changed(planted.other_order), GOOD, ""),
    "64-tokens": (changed(planted.sized(1, 64)), GOOD, "takes 64 tokens"),
    "start-only": (changed(planted.only_output(0)), "not judged", "end_logits .* is wanted"),
}
IMAGES = {
    "float": (planted.copied, GOOD, ""),
    "renamed": (changed(lambda m: planted.rename(m, {"pixel_values": "image"})), GOOD, "image as pixel_values"),
    "one-by-one": (changed(planted.sized(1, None, None, None)), GOOD, "takes 1 row"),
}


def embedder(root):
    return planted.write_embedder(root), root / "texts.csv"


def pairs(root):
    return planted.write_pairs(root), root / "pairs.csv"


def questions(root):
    tiny_tasks.write_questions(root)
    auto = "AutoModelForQuestionAnswering"
    planted.export(root / "model", root / "float.onnx", auto_class=auto, outputs=SPANS)
    return root, root / "data"


def images(root):
    tiny_tasks.write_images(root)
    auto = "AutoModelForImageClassification"
    pixels = np.zeros((2, 3, 32, 32), dtype=np.float32)
    planted.export(root / "model", root / "float.onnx", auto_class=auto, pixel_values=pixels)
    return root, root / "data"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "table"),
    [(embedder, EMBEDDINGS), (pairs, PAIRS), (questions, QUESTIONS), (images, IMAGES)],
    ids=["embeddings", "pairs", "questions", "images"],
)
def test_files_of_every_task_are_judged_rightly(make, table, tmp_path):
    root, data = make(tmp_path)
    files = write(table, list(table), root, root / "files")
    found = told(qb.check(files, original=root / "model", data=data, set=UNTIMED))
    for name in table:
        right(name, found, table)


DEMO = {
    "float": (planted.copied, GOOD, ""),
    "dynamic": (planted.dynamic(per_channel=True), GOOD, "ranges found when it is run"),
    "static": (planted.static(samples=planted.of_the_demo, per_channel=True), GOOD, "fixed ranges"),
    "fp16": (changed(planted.half(keep_io=False)), GOOD, "float16"),
    "q4": (planted.q4, GOOD, "weights alone: MatMul"),
    "narrow": (lambda root, path: planted.narrow(root, path, planted.of_the_demo), BAD, "too narrow"),
    "zeroed": (every(lambda array, _: array * 0), BAD, ""),
    "mask-ignored": (changed(planted.mask_ignored), BAD, "depend on padding"),
    "other-labels": (changed(planted.behind("Gather", np.array([0, 3, 4, 1, 2, 5, 6]), axis=2)), BAD, ""),
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The float export of the embedded model, which has the size of MiniLM."""
    root = tmp_path_factory.mktemp("demo")
    outputs = {"logits": {0: "batch_size", 1: "sequence_length"}}
    planted.export(embedded.MODEL, root / "float.onnx", auto_class="AutoModelForTokenClassification", outputs=outputs)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("verdict", [GOOD, BAD])
def test_files_of_the_embedded_model_are_judged_rightly(verdict, demo, tmp_path):
    """So few examples tell losses of some hundredths of F1 from each other."""
    names = [name for name, (_, expected, _) in DEMO.items() if expected == verdict]
    files = write(DEMO, names, demo, tmp_path / "files")
    found = told(qb.check(files, original="demo", set=UNTIMED, max_drop={"f1": 0.1}))
    for name in names:
        right(name, found, DEMO)


CODES = {
    ("empty",): 7,
    ("float", "empty", "negative"): 7,
    ("float", "negative", "two-labels"): 5,
    ("float", "two-labels"): 8,
    ("float",): 0,
}


@pytest.mark.parametrize(
    "names",
    [pytest.param(names, marks=[pytest.mark.slow] if number else []) for number, names in enumerate(CODES)],
    ids=str,
)
def test_the_command_tells_and_ends_by_the_verdict(names, topics, tmp_path):
    files = write(TEXTS, names, topics, tmp_path / "files")
    end = ["--original", topics / "model", topics / "texts.csv", "--no-timing", "-q"]
    done = quantbench("check", *files, *end, cwd=tmp_path)
    assert done.returncode == CODES[names], done.stderr + done.stdout
    assert all(path.name in done.stdout for path in files)
    assert ("keeps" in done.stdout) == ("float" in names)


def test_all_files_are_reported(topics, some):
    frame, document = some.to_dataframe(), json.loads((topics / "out/check.json").read_text())
    assert [Path(path).stem for path in frame["file"]] == [name.removesuffix(".pb") for name in SOME]
    assert frame["difference"].notna().tolist() == [name in ("float", "mask-ignored") for name in SOME]
    assert some.of("does not load", "not judged") == tuple(found.path for found in some.files[2:])
    assert document == json.loads(json.dumps(some.to_dict()))
    assert document["files"][0]["differences"]["accuracy"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert (topics / "out/check.md").read_text() == some._repr_markdown_()
    assert all(found.path.name in str(some) for found in some.files)


@pytest.mark.slow
def test_files_are_timed_in_the_same_rounds_at_the_shapes_that_they_take(topics, tmp_path):
    files = write(TEXTS, ["float", "empty", "16-tokens"], topics, tmp_path / "files")
    shapes = {"batch_sizes": [1, 2], "input_lengths": [8, 32]}
    check = qb.check(files, original=topics / "model", data=topics / "texts.csv", set={**SOON, **shapes})
    arms = {(latency.batch_size, latency.input_length): set(latency.arms) for latency in check._found.times.latencies}
    assert arms[1, 8] == arms[2, 8] == {"pytorch", "null", "0", "2"}
    assert arms[1, 32] == arms[2, 32] == {"pytorch", "null", "0"}  # 32 tokens are too many for the last
    frame = check.to_dataframe()
    assert [Path(path).stem for path in frame["file"]] == ["float"] * 4 + ["empty"] + ["16-tokens"] * 2
    assert (frame["speedup"] > 0).tolist() == [Path(path).stem != "empty" for path in frame["file"]]


@pytest.mark.slow
def test_a_file_that_kills_its_process_is_a_row_like_others(topics, tmp_path):
    """A runtime of another package brings the crash, in the process of the file."""
    (tmp_path / "bad.toy").write_bytes(b"crash")
    files = [tmp_path / "bad.toy", *write(TEXTS, ["float"], topics, tmp_path / "files")]
    end = ["--original", topics / "model", topics / "texts.csv", "--no-timing", "-q"]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1] / "plugins"), os.environ.get("PYTHONPATH")]))
    done = quantbench("check", *files, *end, cwd=tmp_path, PYTHONPATH=path)
    assert done.returncode == 7, done.stderr
    assert "its process was killed by SIGSEGV" in done.stdout and "keeps" in done.stdout


def test_bad_input_ends_the_command_before_anything_is_done(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/a.onnx").write_bytes(b"a")
    done = quantbench("check", "models", "gone.onnx", "--original", "demo", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "gone.onnx: there is no such file" in done.stderr and "Traceback" not in done.stderr
    assert "models: is a folder; name the files in it; there is: a.onnx" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"original": "./nowhere"}, "MODEL: .*nowhere"),
        ({"set": {"max_eval_samples": 0}}, "compares predictions"),
        ({"max_drop": {"rouge": 1}}, "unknown metric 'rouge'"),
        ({"set": {"benchmarked.per_channel": [True, False]}}, "nothing to benchmark"),
        ({"files": []}, "FILE: is missing"),
    ],
)
def test_what_cannot_be_judged_is_refused(options, message, tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"a")
    with pytest.raises(qb.BadInput, match=message):
        qb.check(**{"files": tmp_path / "a.onnx", "original": "demo", **options})
