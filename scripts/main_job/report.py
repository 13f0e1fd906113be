"""The table at the end of the main job."""

_MIB = 2**20
_WORKER_ROW = "{:<8}{:>12}{:>12}{:>12}{:>12}{:>16}"


def print_report(columns):
    """Prints figures of one or two runs side by side: [(title, report of consumer.py)]."""
    for name, cells in _rows([report for _, report in columns], [title for title, _ in columns]):
        print(f"{name:<26}" + "".join(f"{cell:>26}" for cell in cells).rstrip())
    for title, report in columns:
        if "workers" in report:
            _print_workers(title, report["workers"])


def _rows(reports, titles):
    yield "", titles
    if any(r.get("restarts") for r in reports):
        yield "consumers killed before", [f"{r['restarts']}" for r in reports]
    yield "events", [f"{r['events']:,}" for r in reports]
    yield "in the database", [f"{r['stored']:,}" for r in reports]
    if any(r["malformed"] for r in reports):
        yield "malformed, left out", [f"{r['malformed']:,}" for r in reports]
    yield "batches", [f"{r['batches']:,}" for r in reports]
    yield "items: smallest batch", [f"{r['smallest_batch']:,}" for r in reports]
    yield "items: median", [f"{r['median_batch']:,}" for r in reports]
    yield "items: largest", [f"{r['largest_batch']:,}" for r in reports]
    yield "items: the rest at the end", [f"{r['last_batch']:,}" for r in reports]
    yield "de-duplication ratio", [f"{r['events'] / max(1, r['written']):.2f}" for r in reports]
    yield "events per second", [f"{r['events'] / r['seconds']:,.0f}" for r in reports]
    yield "peak counted bytes", [_of_limit(r["peak_counted_bytes"], reports[0]["limit_bytes"]) for r in reports]
    yield "highest RSS" + (", summed up" if "workers" in reports[0] else ""), [_of_limit(r["peak_rss_bytes"], reports[0]["limit_bytes"]) for r in reports]


def _of_limit(size, limit):
    share = f" ({100 * size / limit:.1f} %)" if limit else ""
    return f"{size / _MIB:.1f} MiB{share}"


def _print_workers(title, reports):
    """Who did what of a run that several consumers shared."""
    print(f"\n{title}\n" + _WORKER_ROW.format("worker", "events", "batches", "median", "largest", "peak counted"))
    for number, report in enumerate(reports, 1):
        print(_WORKER_ROW.format(
            number, f"{report['events']:,}", f"{report['batches']:,}", f"{report['median_batch']:,}",
            f"{report['largest_batch']:,}", f"{report['peak_counted_bytes'] / _MIB:.1f} MiB"))
