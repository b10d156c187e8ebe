"""The command: parses and prints, nothing else. What it calls is imported when it is called.

Exit codes: 0 ok, 1 some run or check failed, 2 bad spec, table or usage, 130 interrupted (resumable).
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from scaling import __version__
from scaling.errors import UserError
from scaling.outcomes import refusal

app = typer.Typer(
    name="scaling",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False,
) -> None:
    """Plan, run and defend scaling-law studies of Transformers."""
    if version:
        print(f"scaling-laws {__version__}")
        raise typer.Exit


Spec = Annotated[Path, typer.Argument(help="an experiment spec, such as experiments/quickstart.yaml")]
Results = Annotated[Path, typer.Argument(help="the results folder of a study, such as results/quickstart")]
Table = Annotated[Path, typer.Argument(help="a results folder, or any CSV of runs: params, tokens, loss")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="change a field of the spec; may be repeated"),
]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object instead of text")]
Folder = Annotated[Path | None, typer.Option("--results", help="results folder; left out: results/<study>")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="jobs at a time, instead of the spec's execution.workers")
]

Where = Annotated[
    str | None, typer.Option(metavar="FILTER", help="rows to take, such as 'seed == 0 and loss < 3.2'")
]
Columns = Annotated[
    list[str] | None,
    typer.Option(metavar="OURS=THEIRS", help="which column is which, such as 'params=Model Size'"),
]
Units = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN=UNIT", help="what a column is given in, such as params=M, loss=bits"),
]


@app.command()
def plan(
    spec: Spec,
    overrides: Overrides = None,
    as_json: Json = False,
    resolved: Annotated[bool, typer.Option(help="print the spec with every default filled in")] = False,
    probe: Annotated[bool, typer.Option(help="measure this machine's speed where it is not known")] = True,
    workers: Workers = None,
) -> None:
    """Say what a spec would train, and its cost."""
    from scaling.cli.plans import plan_json, plan_text
    from scaling.plan.cost import estimate_space, estimate_time
    from scaling.plan.expand import plan_spec
    from scaling.plan.probe import ProbeFailed, cached_probe, measure_probe
    from scaling.sweep.machine import has_glibc, launch_environment, layout

    study, planned = plan_spec(spec, overrides or [])
    if resolved:
        return _json(study.model_dump(mode="json"))
    where = layout(workers or planned.execution.workers, planned.execution.device, planned.execution.threads)
    speed = cached_probe(planned)
    if speed is None and probe:
        _note("measuring the speed of a training step on this machine, once (--no-probe skips it) ...")
        try:
            environment = launch_environment(os.environ, where, glibc=has_glibc())
            speed = measure_probe(planned, environment)
        except ProbeFailed as error:
            _note(f"no time estimate: {error}")
    slots = len(where.slots)
    time = None if speed is None else estimate_time(planned, speed, slots)
    space = estimate_space(planned, slots)
    if as_json:
        return _json(plan_json(planned, time, space))
    print(plan_text(planned, time, speed, space, slots))
    _next("run", spec, *(part for text in overrides or [] for part in ("--set", text)))
    return None


@app.command()
def run(
    spec: Spec,
    overrides: Overrides = None,
    results: Folder = None,
    workers: Workers = None,
    max_hours: Annotated[
        float | None, typer.Option(help="stop after so long, as by Ctrl-C: what is done is kept")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="go on in this folder although the recipe has changed")
    ] = False,
    reevaluate: Annotated[
        bool, typer.Option("--reevaluate", help="evaluate kept final checkpoints on a changed evaluation set")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train, fit, freeze the forecast, test it. Again: go on."""
    from scaling.cli.watch import watcher
    from scaling.plan.expand import plan_spec
    from scaling.study import StudyStopped, run_study

    for number in (signal.SIGTERM, signal.SIGHUP):  # between phases they stop like Ctrl-C
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    study, planned = plan_spec(spec, overrides or [])
    folder = results or Path("results") / study.study
    try:
        with watcher() as watch:
            report = run_study(
                planned,
                folder,
                spec=_asked(study, spec, overrides),
                workers=workers,
                watch=watch,
                max_hours=max_hours,
                force=force,
                reevaluate=reevaluate,
            )
    except StudyStopped as stopped:
        _note(str(stopped))
        raise typer.Exit(stopped.exit_code) from None
    except KeyboardInterrupt:
        _note("interrupted; run the same command again: what is done is kept")
        raise typer.Exit(130) from None
    if as_json:
        return _json(report.to_json())
    print(report.text)
    _next("fit", folder, "--convention", "body")
    return None


@app.command()
def status(results: Results, as_json: Json = False) -> None:
    """Counts and reasons, also while a study runs."""
    from dataclasses import asdict

    from scaling.cli.states import status_text
    from scaling.sweep.status import status as read_status

    now = read_status(results)
    if as_json:
        return _json(asdict(now))
    print(status_text(now))
    if now.failures:
        _next("logs", results, now.failures[0].label)
    elif now.counts["done"] == len(now.rows):
        _next("plot", results)
    return None


@app.command()
def logs(
    results: Results,
    run: Annotated[str, typer.Argument(help="a run or job: its label, its id, or how its id begins")],
    lines: Annotated[int, typer.Option(min=1, help="how many of the last lines")] = 50,
    as_json: Json = False,
) -> None:
    """The end of the log of the process that trained a run."""
    from scaling.sweep.status import logs as find_log

    path = find_log(results, run)
    last = path.read_text(errors="replace").splitlines()[-lines:]
    if as_json:
        return _json({"log": str(path), "lines": last})
    _note(str(path))
    print("\n".join(last))
    return None


@app.command()
def collect(results: Results, as_json: Json = False) -> None:
    """Write runs.csv and curves.parquet from the records."""
    from dataclasses import asdict

    from scaling.sweep.collect import collect as collect_records

    done = collect_records(results)
    if as_json:
        return _json({key: str(v) if isinstance(v, Path) else v for key, v in asdict(done).items()})
    print(done.summary)
    for missing in done.missing:
        print(f"no record: {missing.label} ({missing.cause})")
    print(done.table, done.curves, sep="\n")
    _next("fit", results)
    return None


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="any CSV, parquet or jsonl file with one row a run")],
    out: Annotated[Path, typer.Argument(help="the CSV to write, with our column names and plain units")],
    where: Where = None,
    column: Columns = None,
    unit: Units = None,
    as_json: Json = False,
) -> None:
    """Make a runs table of a table found in the wild."""
    from scaling.cli.fits import reading
    from scaling.study import import_table

    notes = import_table(source, out, where=where, **reading(column, unit))
    if as_json:
        return _json({"table": str(out), "notes": list(notes)})
    print("\n".join([*notes, str(out)]))
    _next("fit", out)
    return None


@app.command()
def fit(
    table: Table,
    law: Annotated[
        str,
        typer.Option(
            help="chinchilla, tied, kaplan; power or power-offset (of C; with -params or -tokens, of N or "
            "D); or file.py:NAME, a Law of yours: the file is run"
        ),
    ] = "chinchilla",
    where: Where = None,
    convention: Annotated[str, typer.Option(help="which N and C: total, body, 6nd, kaplan")] = "total",
    objective: Annotated[
        str, typer.Option(help="huber or log-ls (least squares) on log residuals, raw-ls on residuals")
    ] = "huber",
    delta: Annotated[float | None, typer.Option(help="Huber's delta; left out: from the residuals")] = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="replicates for intervals")] = 500,
    method: Annotated[
        str, typer.Option(help="of intervals: auto, cluster, wild-cluster, wild-t, jackknife, profile, ...")
    ] = "auto",
    level: Annotated[float, typer.Option(help="of intervals")] = 0.9,
    fixed: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="hold a parameter; may be repeated")
    ] = None,
    bounds: Annotated[
        list[str] | None, typer.Option(metavar="NAME=LOW:HIGH", help="narrow a domain; may be repeated")
    ] = None,
    target: Annotated[str, typer.Option(help="the column to fit")] = "loss",
    weights: Annotated[str | None, typer.Option(help="a column of weights; left out: none")] = None,
    groups: Annotated[
        str | None, typer.Option(help="a column of data sets that share exponents, fitted together")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="a column of what shares noise; left out: trunk, else seed and size"),
    ] = None,
    column: Columns = None,
    unit: Units = None,
    as_json: Json = False,
) -> None:
    """Fit a law to a runs table."""
    from scaling.cli import fits
    from scaling.study import fit_table

    fitted = fit_table(
        table,
        law,
        fits.reading(column, unit),
        where=where,
        convention=convention,
        objective=objective,
        delta=delta,
        bootstrap=bootstrap,
        method=method,
        level=level,
        fixed=fits.fixed(fixed),
        bounds=fits.bounds(bounds),
        target=target,
        weights=weights,
        groups=groups,
        cluster=cluster,
    )
    if as_json:
        print(fitted.to_json())
        return None
    print(fitted.summary())
    if law == "chinchilla" and target == "loss" and not (where or column or unit or groups):
        _next("plot", table)
    return None


@app.command()
def plot(
    table: Table,
    law: Annotated[
        str | None,
        typer.Option(help="fit this law, a name or file.py:NAME, and draw it; left out: the whole study"),
    ] = None,
    x: Annotated[str | None, typer.Option("--x", help="the input that the law is drawn over")] = None,
    by: Annotated[str | None, typer.Option(help="the input with a curve for every level")] = None,
    profile: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="draw the profile of a parameter; repeatable")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="of intervals, beside the default; may be repeated")
    ] = None,
    where: Where = None,
    column: Columns = None,
    unit: Units = None,
    convention: Annotated[str | None, typer.Option(help="as of fit")] = None,
    objective: Annotated[str | None, typer.Option(help="as of fit")] = None,
    delta: Annotated[float | None, typer.Option(help="as of fit")] = None,
    level: Annotated[float | None, typer.Option(help="as of fit")] = None,
    fixed: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="as of fit")] = None,
    bounds: Annotated[list[str] | None, typer.Option(metavar="NAME=LOW:HIGH", help="as of fit")] = None,
    target: Annotated[str | None, typer.Option(help="as of fit")] = None,
    weights: Annotated[str | None, typer.Option(help="as of fit")] = None,
    groups: Annotated[str | None, typer.Option(help="as of fit")] = None,
    cluster: Annotated[str | None, typer.Option(help="as of fit")] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder of the figures; left out: beside the table")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw every figure that a table can feed, or a law with its residuals, intervals and profiles."""
    from scaling.cli import fits
    from scaling.study import plot_law, plot_table

    taken = {"where": where, "column": column, "unit": unit}
    options = {"convention": convention, "objective": objective, "delta": delta, "level": level,
               "fixed": fixed, "bounds": bounds, "target": target, "weights": weights, "groups": groups,
               "cluster": cluster}  # fmt: skip
    reading = fits.reading(column, unit)
    if law is None:
        fits.refuse({"x": x, "by": by, "profile": profile, "method": method, **options})
        drawn = plot_table(table, out, {**reading, "where": where})
        more, told = ["--law", "chinchilla", *fits.spelt(taken)], {}
    else:
        asked = {key: value for key, value in options.items() if value is not None}
        asked |= {"fixed": fits.fixed(fixed), "bounds": fits.bounds(bounds), "where": where}
        drawing = {"x": x, "by": by, "profiles": profile or (), "methods": method or ()}
        fitted, drawn = plot_law(table, law, out, reading, drawing=drawing, **asked)
        told = {"law": fitted.law.name, "status": fitted.status}
        more = ["--law", law, *fits.spelt({**taken, **options}), *fits.unclear(fitted, profile)]
    if as_json:
        return _json({**told, "figures": list(map(str, drawn.paths)), "skipped": drawn.skipped})
    print("\n".join([*map(str, drawn.paths), *fits.not_drawn(drawn.skipped)]))
    further = "--profile" in more if law else "fit_and_residuals" not in drawn.skipped
    _next("plot" if further else "fit", table, *more)
    return None


@app.command()
def doctor(as_json: Json = False) -> None:
    """What this machine offers, and what is wrong."""
    from scaling.cli.doctor import examine

    report = examine()
    if as_json:
        _json(report.to_json())
    else:
        print(report.text)
    if report.problems:
        raise typer.Exit(1)


@app.command()
def schema() -> None:
    """The JSON schema of a spec, for editors."""
    from scaling.spec.models import json_schema

    _json(json_schema())


def _asked(study: Any, spec: Path, overrides: list[str] | None) -> str:
    """The text for study.yaml: what was asked, with every default and every change filled in."""
    from scaling.study import study_text

    changes = "".join(f", changed by --set {text}" for text in overrides or [])
    return f"# {spec.name}{changes}\n{study_text(study)}"


def _json(value: Any) -> None:
    print(json.dumps(value, indent=1, allow_nan=False))


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _next(*command: object) -> None:
    print(f"\nnext: {shlex.join(['scaling', *map(str, command)])}")


def main() -> None:
    """Entry point: errors of the user's input go to standard error, without a traceback."""
    from scaling.own_analysis import require_own_analysis

    try:
        require_own_analysis()
        from analysis.errors import AnalysisError
        from scaling.cli.fits import as_options
    except UserError as error:
        _note(str(error))
        sys.exit(2)
    try:
        app()
    except (UserError, AnalysisError) as error:
        _note(as_options(str(error)))
        sys.exit(2)
    except KeyboardInterrupt:
        _note("interrupted")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone: nothing left to say
        sys.exit(1)
    except OSError as error:
        if (told := refusal(error)) is None:
            raise
        _note(told)
        sys.exit(1)


if __name__ == "__main__":
    main()
