"""What stands around the package: workflows, templates, the site's pages, links, and what README promises."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import matplotlib
import pytest
import yaml

import quantbench

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\(([^)\s]+)\)")
WORDS_OF_README = 900


def files(*patterns):
    found = [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    assert found, patterns
    return found


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key that stands twice."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(map(str, keys))), f"a key stands twice: {keys}"
        return super().construct_mapping(node, deep)


def read(path):
    return yaml.load(path.read_text(), _Loader)


@pytest.mark.parametrize(
    "path",
    files(".github/**/*.yml", ".pre-commit-config.yaml", "mkdocs.yml", "CITATION.cff", "examples/*.yaml"),
    ids=lambda path: path.name,
)
def test_yaml_files_are_valid(path):
    assert isinstance(read(path), dict)


def test_the_workflow_runs_what_ci_runs_on_every_python_that_is_promised():
    job = read(ROOT / ".github/workflows/ci.yml")["jobs"]["check"]
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    prefix = "Programming Language :: Python :: 3."
    promised = [f"3.{name.removeprefix(prefix)}" for name in project["classifiers"] if name.startswith(prefix)]
    assert job["strategy"]["matrix"]["python"] == promised == ["3.11", "3.12", "3.13", "3.14"]
    assert any(step.get("with", {}).get("cache") == "pip" for step in job["steps"])
    assert "${{ matrix.python }}" in [step.get("with", {}).get("python-version") for step in job["steps"]]


def test_ci_runs_commands_of_the_readme():
    commands = [line for line in (ROOT / ".ci/run").read_text().splitlines() if line.startswith("make ")]
    assert {"make lint", "make test"} <= set(commands)
    readme = (ROOT / "README.md").read_text()
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for command in commands:
        assert command in readme
        assert command.removeprefix("make ") in targets


def test_commits_are_checked_by_the_tools_of_make_lint():
    hooks = [hook for repo in read(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert [hook["id"] for hook in hooks] == ["ruff", "ruff-format", "mypy"]
    assert all(hook["language"] == "system" and hook["entry"].startswith(".venv/bin/") for hook in hooks)


@pytest.mark.parametrize("path", files(".github/ISSUE_TEMPLATE/[!c]*.yml"), ids=lambda path: path.name)
def test_issue_forms_have_what_github_asks_for(path):
    form = read(path)
    assert form["name"] and form["description"]
    ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
    assert len(ids) == len(set(ids)) > 0
    assert all(part["attributes"].get("label") or part["type"] == "markdown" for part in form["body"])


def test_the_citation_is_of_this_version():
    citation = read(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors", "license"} <= set(citation)
    assert citation["version"] == quantbench.__version__


@pytest.mark.parametrize(
    "path",
    files("*.md", "docs/**/*.md", "examples/cards/*.md", ".github/*.md"),
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_links_lead_to_files(path):
    without_code = re.sub(r"```.*?```|`[^`]*`", "", path.read_text(), flags=re.DOTALL)
    for target in LINK.findall(without_code):
        if not re.match(r"[a-z]+:", target) and not target.startswith("#"):
            assert (path.parent / target.partition("#")[0]).exists(), target


def pages(nav):
    for entry in nav:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else pages(value)


def test_every_page_has_its_place_on_the_site():
    listed = list(pages(read(ROOT / "mkdocs.yml")["nav"]))
    assert len(listed) == len(set(listed))
    for page in listed:
        assert (ROOT / "docs" / page).exists() or (ROOT / page).exists(), page
    written = {path.relative_to(ROOT / "docs").as_posix() for path in files("docs/**/*.md")}
    assert written <= set(listed)


def test_the_readme_is_read_in_minutes_and_shows_a_picture():
    text = (ROOT / "README.md").read_text()
    assert len([word for word in text.split() if re.search(r"\w", word)]) <= WORDS_OF_README
    (picture,) = re.findall(r"!\[[^]]*\]\(([^)]+\.svg)\)", text)
    assert (ROOT / picture).read_text().lstrip().startswith("<?xml")


def test_the_picture_is_that_of_the_cards():
    """Drawn again it is the same file, by the version of matplotlib that drew it."""
    picture = ROOT / "docs/images/demo.svg"
    kept = picture.read_text()
    drawn_by = re.search(r"Matplotlib v([\d.]+)", kept).group(1)
    if matplotlib.__version__ != drawn_by:
        pytest.skip(f"drawn by matplotlib {drawn_by}")
    try:
        subprocess.run([sys.executable, ROOT / "scripts/draw_front.py"], cwd=ROOT, check=True)
        assert picture.read_text() == kept
    finally:
        picture.write_text(kept)


def test_every_parameter_is_explained():
    table = (ROOT / "docs/reference/parameters.md").read_text()
    from quantbench.schema.settings import Settings

    for name in Settings.model_fields:
        assert f"`{name}`" in table, name


def test_nothing_that_is_built_is_kept():
    if not (ROOT / ".git").exists():
        pytest.skip("no repository")
    for name in ("site/", "dist/", "build/", ".venv/"):
        done = subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT, check=False)
        assert done.returncode == 0, name
