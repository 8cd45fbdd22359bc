"""What is kept in the machine's cache: not believed where it is damaged or made by other code; failures are kept too."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.cases.exports import write_own
from tests.cases.models import classified
from tests.support import stages

from quantbench.config.load import load_config
from quantbench.errors import RunFailed
from quantbench.pipeline import export as stage
from quantbench.system import code, environment


@pytest.fixture(scope="module")
def machine():
    return environment.detect()


@pytest.fixture
def bench(tmp_path, machine):
    """A new session on the same cache, as often as it is called, and the settings of a model in a folder."""
    write_own(tmp_path, "pass")
    data = {**classified(tmp_path), "trust_remote_code": True, "quantization_approach": "dynamic", "batch_sizes": []}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(data))
    settings = load_config(tmp_path / "run.yaml").base
    return lambda: stages.context_at(tmp_path / "cache"), settings


@pytest.fixture
def exports(monkeypatch):
    """Counts exports."""
    made = []
    export = stage.write_export

    def counted(*arguments):
        made.append(arguments)
        return export(*arguments)

    monkeypatch.setattr(stage, "write_export", counted)
    return made


def test_an_export_is_made_anew_where_it_was_damaged_or_made_by_other_code(bench, exports, monkeypatch):
    session, settings = bench
    path = Path(stages.exported(settings, session()).path)
    stages.exported(settings, session())
    assert len(exports) == 1
    path.write_bytes(path.read_bytes()[:-100])
    spec = stages.exported(settings, session())
    assert len(exports) == 2
    monkeypatch.setattr(code, "fingerprint", lambda: "other")
    other = stages.exported(settings, session())
    assert len(exports) == 3
    assert other.path != spec.path
    assert other.sha256 == spec.sha256


@pytest.mark.parametrize("content", [b"", b"[[0.1", b"\xff\xfe"])
def test_a_damaged_value_is_made_anew(bench, content):
    session, settings = bench
    first = session()
    spec = stages.original(settings, first)
    predictions = stages.predictions(spec, settings, first)
    assert predictions.fresh
    files = [file for kind in ("predictions", "checkpoints") for file in (first.cache.folder / kind).iterdir()]
    assert len(files) == 2
    for file in files:
        file.write_bytes(content)
    second = session()
    assert stages.predictions(spec, settings, second) == predictions, "made anew"
    assert all(file.read_bytes() != content for file in files)


def test_an_export_that_failed_is_not_tried_again_in_the_session(bench, monkeypatch):
    session, settings = bench
    tried = []

    def fails(*_arguments):
        tried.append(1)
        raise RunFailed("cannot be exported")

    monkeypatch.setattr(stage, "write_export", fails)
    one = session()
    for _ in range(3):
        with pytest.raises(RunFailed, match="cannot be exported"):
            stages.exported(settings, one)
    assert len(tried) == 1
