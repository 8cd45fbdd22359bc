"""The wheel and the source archive: what they hold, and that the demo runs from the wheel alone."""

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import quantbench

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
NEEDED = (
    "quantbench/py.typed",
    "quantbench/embedded/demo.yaml",
    "quantbench/embedded/data/test.parquet",
    "quantbench/embedded/data/LICENSE",
    "quantbench/embedded/model/model.safetensors",
    "quantbench/embedded/model/tokenizer.json",
)


def call(*command, **options):
    """Run a command without anything of this environment's Python; its output, which is shown where it fails."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=clean, timeout=1200, check=False, **options
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder with the archives."""
    folder = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    return folder


def wanted():
    """What is in the package's folder and is no Python cache, as the wheel names it; licences are checked apart."""
    package = Path(quantbench.__file__).parent
    return {
        path.relative_to(package.parent).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_archives_hold_the_whole_package(built):
    (wheel,) = built.glob("*.whl")
    (source,) = built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(source) as archive:
        in_source = {name.partition("/src/")[2] for name in archive.getnames()}
    expected = wanted()
    assert set(NEEDED) <= expected
    assert any(name.startswith("quantbench/served/") for name in expected)
    assert any(name.endswith(".jinja") for name in expected)
    assert expected - in_wheel == set()
    assert expected - in_source == set()
    licences = {Path(name).name for name in in_wheel if ".dist-info/licenses/" in name}
    embedded = Path(quantbench.__file__).parent / "embedded/licenses"
    assert licences == {"LICENSE", *(path.name for path in embedded.iterdir())}
    assert not [name for name in in_wheel if name.startswith(("tests", "scripts", "bench", "docs"))]


def test_the_index_takes_them(built):
    told = call(sys.executable, "-m", "twine", "check", "--strict", *built.iterdir())
    assert told.count("PASSED") == 2


def test_the_demo_runs_from_the_wheel_in_an_empty_environment(built, tmp_path):
    """Installed with its dependencies and nothing else, and called from a folder that has nothing to do with it."""
    (wheel,) = built.glob("*.whl")
    place = tmp_path / "env"
    venv.create(place, with_pip=True, system_site_packages=False)
    python, command = place / "bin/python", place / "bin/quantbench"
    call(python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    where = call(python, "-c", "import quantbench; print(quantbench.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(place)
    assert call(command, "--version", cwd=tmp_path).strip() == f"quantbench {quantbench.__version__}"

    short = ["--set", "max_eval_samples=100", "--set", "time_benchmark_args={duration: 0.3, warmup_runs: 1}"]
    configuration = Path(where).parent / "embedded/demo.yaml"
    assert "2 runs share 1 float export" in call(command, "plan", configuration, *short, cwd=tmp_path)
    told = call(command, "demo", "-q", *short, cwd=tmp_path)
    assert "card: runs/demo/card.md" in told
    assert "f1 (optimized)" in (tmp_path / "runs/demo/card.md").read_text()
    rows = json.loads((tmp_path / "runs/demo/summary.json").read_text())["runs"]
    assert [row["status"] for row in rows] == ["done", "done"]
    assert all(row["metrics"]["f1"]["original"] > 0.5 and row["latency"] for row in rows)
