"""Every case gives what is right, and the page that lists them has them all."""

import pytest
from tests.cases.__main__ import PAGE, start
from tests.cases.execute import all_cases, execute


@pytest.mark.parametrize("registered", [pytest.param(found, id=found.name) for found in all_cases()])
def test_case(registered, tmp_path):
    execute(registered, tmp_path)


def test_the_page_lists_all_cases():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    missing = [found.name for found in all_cases() if not any(line.startswith(start(found)) for line in lines)]
    assert not missing, "python -m tests.cases > docs/cases.md"
