from yosegi.reporting import costs
from yosegi.reporting.read import read


def test_a_time_is_counted_once_though_two_metrics_share_it(kept_run):
    found = read([kept_run])
    rows = {row.model: row for row in costs.costs(found, found.models)}
    assert set(rows) == set(found.models)
    for model, row in rows.items():
        mine = [m.row for m in found.plain if m.model == model and m.metric == "accuracy"]
        assert row.wall_s == sum(r["wall_s"] for r in mine)
        assert row.peak_mem_mb == max(r["peak_mem_mb"] for r in mine)
        assert (row.trainable, row.active) == (mine[0]["trainable_params"], mine[0]["active_params"])


def test_a_model_of_which_nothing_is_known_has_no_row(kept_run):
    assert costs.costs(read([kept_run]), ["nobody"]) == []


def test_experts_weigh_what_their_folder_weighs(kept_run):
    card = costs.cards(read([kept_run]))[0]
    assert (card.name, card.task, card.rank, card.alpha, card.targets) == ("chain", "skills/chain", 8, 16, "all-linear")
    assert card.bytes == sum(file.stat().st_size for file in (kept_run / "library" / "chain").iterdir())
