"""Archives by content: what is sent to another machine and what comes back."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbench import embedded
from quantbench.config.keys import combinations
from quantbench.config.load import load_config
from quantbench.launchers import _archives

NAMES = st.text("abc_-1", min_size=1, max_size=6)
FOLDERS = st.dictionaries(st.tuples(NAMES, NAMES.map("{}.bin".format)), st.binary(max_size=200), min_size=1, max_size=5)


def write(folder, files):
    for (inner, name), content in files.items():
        (folder / inner).mkdir(parents=True, exist_ok=True)
        (folder / inner / name).write_bytes(content)
    return folder


def contents(folder):
    return {path.relative_to(folder).parts: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@given(FOLDERS)
def test_what_is_packed_comes_out_again(tmp_path_factory, files):
    root = tmp_path_factory.mktemp("shipping")
    archive = _archives.packed(write(root / "one", files))
    _archives.unpack(archive, root / "two")
    assert contents(root / "two") == files
    for (inner, name), content in files.items():
        assert _archives.member(archive, f"{inner}/{name}") == content


@given(FOLDERS, FOLDERS)
def test_equal_contents_have_equal_hashes_and_others_do_not(tmp_path_factory, one, other):
    root = tmp_path_factory.mktemp("shipping")
    hashes = [
        _archives.content_hash(write(root / name, files)) for name, files in (("a", one), ("b", one), ("c", other))
    ]
    assert hashes[0] == hashes[1]
    assert (hashes[0] == hashes[2]) == (one == other)


def test_an_input_is_unpacked_once_per_content(tmp_path):
    model = write(tmp_path / "model", {("x", "weights.bin"): b"1"})
    archive = _archives.packed(model)
    placed = _archives.place(archive, True, tmp_path / "cache")
    assert contents(placed) == contents(model)
    (placed / "x" / "weights.bin").write_bytes(b"2")
    assert _archives.place(archive, True, tmp_path / "cache") == placed
    assert (placed / "x" / "weights.bin").read_bytes() == b"2", "unpacked again"


def test_a_single_file_keeps_its_name(tmp_path):
    file = tmp_path / "data.parquet"
    file.write_bytes(b"rows")
    placed = _archives.place(_archives.packed(file), False, tmp_path / "cache")
    assert placed.name == "data.parquet"
    assert placed.read_bytes() == b"rows"


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../outside"])
def test_an_entry_outside_of_the_folder_is_refused(tmp_path, name):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
    with pytest.raises(ValueError, match="no plain file"):
        _archives.unpack(buffer.getvalue(), tmp_path / "in")
    assert not list(tmp_path.rglob("outside"))


def test_a_link_is_refused(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("link")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    with pytest.raises(ValueError, match="no plain file"):
        _archives.unpack(buffer.getvalue(), tmp_path)


def test_compressed_archives_with_folders_in_them_are_read(tmp_path):
    write(tmp_path / "in", {("x", "a.bin"): b"1"})
    with tarfile.open(tmp_path / "out.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "in", arcname=".")
    _archives.unpack((tmp_path / "out.tar.gz").read_bytes(), tmp_path / "out")
    assert contents(tmp_path / "out") == {("x", "a.bin"): b"1"}


def settings(**changes):
    overrides = [f"{key}={value}" for key, value in changes.items()]
    _, found = next(combinations(load_config(embedded.CONFIG, overrides)))
    return found


def test_what_is_embedded_or_on_the_hub_is_not_sent(tmp_path):
    assert _archives.local_inputs(settings()) == {}
    assert _archives.local_inputs(settings(model_name_or_path="someone/a-model")) == {}
    found = _archives.local_inputs(settings(model_name_or_path=str(tmp_path)))
    assert found == {str(tmp_path): tmp_path}
