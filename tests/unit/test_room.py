"""What is refused because memory or disk cannot hold it, with the arithmetic."""

from collections import namedtuple

import pytest

from quantbench.pipeline import room
from quantbench.pipeline.room import PROCESS_BYTES

WEIGHTS = 250_000_000
SIZE = 4 * WEIGHTS
Usage = namedtuple("Usage", "total used free")


def test_an_export_holds_the_float_model_twice():
    assert room.to_work(WEIGHTS, False, 2 * SIZE) is None
    key, message = room.to_work(WEIGHTS, False, 2 * SIZE - 1)
    assert key == "model_name_or_path"
    assert message.startswith("it has 250 million weights, 0.9 GiB in float32; its export needs at least 1.9 GiB")


def test_what_cannot_be_loaded_is_told_before():
    assert room.to_load(WEIGHTS, SIZE) is None
    assert "0.9 GiB in float32; needs at least 0.9 GiB of memory" in room.to_load(WEIGHTS, SIZE - 1)


def test_timing_holds_it_in_three_processes_and_the_int8_model_in_a_fourth():
    least = 3 * SIZE + SIZE // 4 + 4 * PROCESS_BYTES
    assert room.to_work(WEIGHTS, True, least) is None
    assert room.to_work(WEIGHTS, False, least - 1) is None, "what is not timed needs less"
    key, message = room.to_work(WEIGHTS, True, least - 1)
    assert key == "batch_sizes"
    assert "timing needs at least 4.1 GiB of memory for 4 processes at once" in message


@pytest.mark.parametrize(("free", "fits"), [(2 * SIZE, True), (2 * SIZE - 1, False)])
def test_folders_on_one_disk_share_what_is_free(tmp_path, monkeypatch, free, fits):
    monkeypatch.setattr(room, "disk_usage", lambda folder: Usage(0, 0, free))
    problem = room.of_disk(WEIGHTS, [(tmp_path / "not yet" / "there", "CACHE"), (tmp_path, "TMPDIR")])
    assert (problem is None) == fits
    if problem:
        assert "at least 1.9 GiB on the disk of" in problem[1]
        assert problem[1].endswith("name another folder in CACHE or TMPDIR")
