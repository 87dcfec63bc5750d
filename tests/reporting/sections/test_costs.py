from yosegi.reporting.context import Context
from yosegi.reporting.read import read
from yosegi.reporting.sections.costs import section


def test_a_time_is_counted_once_though_two_metrics_share_it(kept_run):
    context = Context(read([kept_run]))
    models = section(context)["models"]
    assert list(models) == context.models
    for model, costs in models.items():
        mine = [m.row for m in context.results.scores if m.model == model and m.metric == "accuracy"]
        assert costs["wall_s"] == sum(r["wall_s"] for r in mine)
        assert costs["peak_mem_mb"] == max(r["peak_mem_mb"] for r in mine)
        assert all(costs[key] == mine[0][key] for key in ("trainable_params", "active_params"))


def test_a_model_of_which_nothing_is_known_has_no_row(run):
    (run / "results.jsonl").write_text('{"model": "x", "task": "t", "metric": "m", "value": 1.0}\n')
    assert section(Context(read([run]))) is None
