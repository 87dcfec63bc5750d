"""`yosegi search`: the merge, the weights or the router settings that answer validation questions best."""

from typing import Any

from yosegi.commands._config import check, read_config
from yosegi.commands._flags import flags
from yosegi.commands._options import Columns, Config, Data, DataFile, Json, ReportTo, RunDir, begin, say, table

EXAMPLE = "yosegi search --library library --task gsm8k:logp --arm 'merge:ties{density=.1:.9}' --keep blend"


@flags("search/settings.py", "SearchSettings", panel="Search")
def search(
    data_file: DataFile = None,
    columns: Columns = None,
    config: Config = None,
    run: RunDir = None,
    report_to: ReportTo = None,
    data: Data = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Search on validation questions; test is never read. Interrupted, it goes on. Writes best.yaml for `yosegi merge`."""
    begin(data, as_json)
    from yosegi.search.outcome import FILE, search_arms
    from yosegi.search.settings import SearchSettings
    from yosegi.search.trials import shown
    from yosegi.trackers import report_to as reporting

    words = {"data_file": data_file, "columns": columns, "report_to": report_to or None}
    options = read_config(config, options | words)
    with reporting(options.pop("report_to", [])):
        result = search_arms(check(SearchSettings, options), run)
    if as_json:
        say(result.describe(), True)
        return
    trials = shown(result.trials, result.best)
    print("Chosen, and the baselines, on validation:")
    rows = [[one.label, f"{one.value:.4f}", *(f"{mean:.4f}" for mean in one.means)] for one in trials]
    table("", ["", "value", *result.search.probe.labels], rows)
    print(f"\nThe arm: {result.run.path / FILE}   A page of it: yosegi report {result.run.path}")
    print(result.next)
