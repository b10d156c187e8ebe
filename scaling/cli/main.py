"""The command: parses and prints, nothing else. What it calls is imported when it is called.

Exit codes: 0 ok, 1 some run or check failed, 2 bad spec, table or usage, 130 interrupted (resumable).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from scaling import __version__
from scaling.cli import data, forecasts, say
from scaling.cli.arguments import as_option
from scaling.cli.basins import basins
from scaling.cli.cancel import cancel
from scaling.cli.check import check
from scaling.cli.clean import clean
from scaling.cli.compare import compare
from scaling.cli.coordcheck import coordcheck
from scaling.cli.export import export
from scaling.cli.fit import fit
from scaling.cli.imports import import_
from scaling.cli.laws import laws
from scaling.cli.next import next_
from scaling.cli.options import Json, Results
from scaling.cli.plan import plan
from scaling.cli.plot import plot
from scaling.cli.predict import optimal, predict
from scaling.cli.refusals import Commands
from scaling.cli.report import report
from scaling.cli.run import run
from scaling.errors import UserError

app = typer.Typer(
    name="scaling",
    cls=Commands,
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


app.command()(plan)
app.command()(run)


@app.command()
def status(results: Results, as_json: Json = False) -> None:
    """Counts and reasons, also while a study runs."""
    from scaling.cli.status_text import status_text
    from scaling.sweep.status import status as read_status

    now = read_status(results)
    if as_json:
        return say.data(now.to_json())
    print(status_text(now))
    if now.failures:
        say.next_command("logs", results, now.failures[0].label)
    elif now.counts["done"] == len(now.rows):
        say.next_command("plot", results)
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
        return say.data({"log": str(path), "lines": last})
    say.note(str(path))
    print("\n".join(last))
    return None


@app.command()
def collect(results: Results, as_json: Json = False) -> None:
    """Write runs.csv and curves.parquet from the records."""
    from dataclasses import asdict

    from scaling.sweep.collect import collect as collect_records

    done = collect_records(results)
    if as_json:
        return say.data({key: str(v) if isinstance(v, Path) else v for key, v in asdict(done).items()})
    print(done.summary)
    for missing in done.missing:
        print(f"no record: {missing.label} ({missing.cause})")
    print(done.table, done.curves, sep="\n")
    say.next_command("fit", results)
    return None


app.add_typer(data.app, name="data")
app.command("import")(import_)
app.command()(fit)
app.command()(compare)
app.command()(check)
app.command()(laws)
app.command()(predict)
app.command()(optimal)
app.command("next")(next_)
app.command()(basins)
app.add_typer(forecasts.app, name="forecasts")
app.command()(plot)
app.command()(report)
app.command()(export)
app.command()(clean)
app.command()(cancel)
app.command()(coordcheck)


@app.command()
def doctor(as_json: Json = False) -> None:
    """What this machine offers, and what is wrong."""
    from scaling.cli.doctor import examine

    report = examine()
    if as_json:
        say.data(report.to_json())
    else:
        print(report.text)
    if report.problems:
        raise typer.Exit(1)


@app.command()
def schema(
    external: Annotated[
        bool, typer.Option("--external", help="of the files of a trainer of your own, by name, instead")
    ] = False,
) -> None:
    """The JSON schema of a spec, for editors."""
    from scaling.spec.models import json_schema
    from scaling.supervisor.contract import json_schemas

    say.data(json_schemas() if external else json_schema())


def main() -> None:
    """Entry point: errors of the user's input go to standard error, without a traceback."""
    from scaling.own_analysis import require_own_analysis

    try:
        require_own_analysis()
        from analysis.errors import AnalysisError
    except UserError as error:
        say.note(str(error))
        sys.exit(2)
    try:
        app(prog_name="scaling")
    except UserError as error:
        say.note(str(error))
        sys.exit(2)
    except AnalysisError as error:
        for problem in error.problems:
            say.note(problem.text(as_option))
        sys.exit(2)
    except KeyboardInterrupt:
        say.note("interrupted")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone: nothing left to say
        sys.exit(1)
    except OSError as error:
        from scaling.store.failure import refusal

        if (reason := refusal(error)) is None:
            raise
        say.note(reason)
        sys.exit(1)


if __name__ == "__main__":
    main()
