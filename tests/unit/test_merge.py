"""Folders made one: by content, with a set of tables per machine."""

import json

import pytest
from tests.support.command import quantbench
from tests.support.example_results import ENVIRONMENT, done, failed, reference_config

import quantbench as qb
from quantbench.config.plan import make_plan
from quantbench.errors import BadInput
from quantbench.results import merge
from quantbench.results.store import Store

OTHER = ENVIRONMENT.model_copy(update={"cpu_model": "Another CPU", "host": "b"})


def folder_of(path, *, environment=ENVIRONMENT, overrides=(), only=(0, 1), fail=(), sha256=None):
    """An output folder with results of the reference card, and a file in the place of each model."""
    config = reference_config(*overrides)
    store = Store(path)
    store.open(config)
    for number, run in enumerate(make_plan(config).runs):
        if number not in only:
            continue
        result = failed(run) if number in fail else done(run, number % 2)
        result = result.model_copy(update={"environment": environment})
        if result.artifact is not None:
            artifact = result.artifact.model_copy(update={"sha256": sha256 or result.artifact.sha256})
            result = result.model_copy(update={"artifact": artifact})
            model = path / artifact.path
            model.parent.mkdir(parents=True)
            model.write_text(artifact.sha256)
            (model.parent / "quantbench.json").write_text(json.dumps({"artifact": artifact.model_dump(mode="json")}))
        store.save(result)
    return path


def test_unlike_machines_stand_beside_each_other(tmp_path):
    one = folder_of(tmp_path / "one")
    other = folder_of(tmp_path / "other", environment=OTHER, sha256="c" * 64)
    merged = qb.merge([one, other], tmp_path / "all").merged
    assert (merged.taken, merged.repeated) == (4, ())
    results = Store(tmp_path / "all").results()
    assert sorted(result.environment.cpu_model for result in results) == ["Another CPU"] * 2 + ["Example CPU"] * 2
    for result in results:
        assert (tmp_path / "all" / result.artifact.path).read_text() == result.artifact.sha256
    card = (tmp_path / "all" / "card.md").read_text()
    assert card.count("# Evaluation, machine") == 2
    assert card.index("# Evaluation, machine 1") < card.index("# Evaluation, machine 2") < card.index("# Beyond")
    assert "Example CPU" in card
    assert "Another CPU" in card
    summary = json.loads((tmp_path / "all" / "summary.json").read_text())
    assert {machine["cpu_model"] for machine in summary["machines"]} == {"Example CPU", "Another CPU"}
    assert sorted(run["machine"] for run in summary["runs"]) == [0, 0, 1, 1]


def test_rows_of_each_machine_are_judged_by_themselves(tmp_path):
    """A merged card says of a machine what the card of its own folder says."""
    one = folder_of(tmp_path / "one")
    alone = json.loads(summary_of(one))["runs"]
    qb.merge([one, folder_of(tmp_path / "other", environment=OTHER)], tmp_path / "all")
    rows = json.loads((tmp_path / "all" / "summary.json").read_text())["runs"]
    assert [row["latency"] for row in rows if row["machine"] == 0] == [row["latency"] for row in alone]


def summary_of(folder):
    qb.load_results(folder).write()
    return (folder / "summary.json").read_text()


def test_parts_of_a_grid_from_one_machine_make_one_table(tmp_path):
    parts = [folder_of(tmp_path / str(number), only=(number,)) for number in (0, 1)]
    assert qb.merge(parts, tmp_path / "all").merged.taken == 2
    whole = folder_of(tmp_path / "whole")
    assert summary_of(tmp_path / "all") == summary_of(whole)


def test_the_backend_may_differ_and_the_card_says_where_each_ran(tmp_path):
    one = folder_of(tmp_path / "one", only=(0,))
    ray = folder_of(tmp_path / "ray", only=(1,), overrides=("backend={name: ray}",))
    assert qb.merge([one, ray], tmp_path / "all").merged.taken == 2
    rows = json.loads((tmp_path / "all" / "summary.json").read_text())["runs"]
    assert {row["parameters"]["backend"]["name"] for row in rows} == {"local", "ray"}


def test_a_run_that_is_there_already_is_left_out_and_named(tmp_path):
    one, again = folder_of(tmp_path / "one"), folder_of(tmp_path / "again", sha256="d" * 64)
    merged = qb.merge([one, again], tmp_path / "all").merged
    assert merged.taken == 2
    assert len(merged.repeated) == 2
    assert all(str(again) in sentence for sentence in merged.repeated)


def test_merging_again_changes_nothing(tmp_path):
    folders = [folder_of(tmp_path / "one"), folder_of(tmp_path / "other", environment=OTHER)]
    qb.merge(folders, tmp_path / "all")
    before = (tmp_path / "all" / "card.md").read_text()
    again = qb.merge(folders, tmp_path / "all").merged
    assert again.taken == 0
    assert (tmp_path / "all" / "card.md").read_text() == before


def test_a_finished_run_is_taken_before_a_failed_one(tmp_path):
    broken, whole = folder_of(tmp_path / "broken", fail=(0,)), folder_of(tmp_path / "whole")
    qb.merge([broken, whole], tmp_path / "all")
    results = Store(tmp_path / "all").results()
    assert len(results) == 2
    assert all(result.done for result in results)


def test_another_configuration_is_refused_and_nothing_written(tmp_path):
    one = folder_of(tmp_path / "one")
    other = folder_of(tmp_path / "other", overrides=("batch_sizes=[8]",))
    with pytest.raises(BadInput, match="batch_sizes"):
        merge.merge([one, other], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_a_folder_is_not_merged_into_itself(tmp_path):
    one = folder_of(tmp_path / "one")
    with pytest.raises(BadInput, match="is one of the folders to merge"):
        merge.merge([one], tmp_path / "two" / ".." / "one")


def test_a_folder_of_several_machines_is_not_compared(tmp_path):
    one = folder_of(tmp_path / "one")
    qb.merge([one, folder_of(tmp_path / "other", environment=OTHER)], tmp_path / "all")
    with pytest.raises(BadInput, match="several machines"):
        qb.compare(tmp_path / "all", one)


def test_the_command_says_what_was_taken(tmp_path):
    folder_of(tmp_path / "one")
    said = quantbench("merge", "one", "--out", "all", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert said.stdout == "2 result(s) taken\ncard: all/card.md\n"
    assert (tmp_path / "all" / "card.md").exists()


def test_a_folder_that_holds_nothing_is_one_message(tmp_path):
    (tmp_path / "empty").mkdir()
    said = quantbench("merge", "empty", "--out", "all", cwd=tmp_path)
    assert said.returncode == 2
    assert "holds no benchmark" in said.stderr
    assert not (tmp_path / "all").exists()
