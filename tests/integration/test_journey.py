"""A run can be followed: its settings travel whole through few files, and hardly ever back up."""

from tests.support.journey import climbs, follow
from tests.support.stages import context_at

from quantbench.config.load import load_config
from quantbench.config.plan import make_plan
from quantbench.pipeline import worker
from quantbench.results.store import Store

MOST_MOVES = 30
MOST_CLIMBS = 5


def test_whole_settings_travel_through_few_files_and_seldom_back_up(write_config, tmp_path):
    runs = make_plan(load_config(write_config())).runs
    results = []
    context = context_at(tmp_path / "cache")
    stays = follow(lambda: results.extend(worker.execute(runs, Store(tmp_path / "out"), context)))
    assert results[0].done
    assert stays[0].file == "pipeline/worker.py"
    route = "\n".join(f"{stay.file}: {', '.join(stay.functions)}" for stay in stays)
    assert len(stays) - 1 < MOST_MOVES, route
    assert climbs(stays) < MOST_CLIMBS, route
    print(f"{len(stays) - 1} moves, {climbs(stays)} back up\n{route}")
