"""The package's source by content."""

from quantbench.system import code


def test_what_does_work_counts_and_what_only_tells_does_not(tmp_path):
    (tmp_path / "reports").mkdir()
    (tmp_path / "export.py").write_text("A = 1\n")
    (tmp_path / "reports" / "card.py").write_text("A = 1\n")
    read = code.fingerprint.__wrapped__
    before = read(tmp_path)
    (tmp_path / "reports" / "card.py").write_text("A = 2\n")
    assert read(tmp_path) == before
    (tmp_path / "export.py").write_text("A = 2\n")
    assert read(tmp_path) != before
