"""``scaling cancel``: end what works on a study."""

from __future__ import annotations

from dataclasses import asdict

import typer

from scaling.cli import say
from scaling.cli.options import Json, Results


def cancel(results: Results, as_json: Json = False) -> None:
    """End a study's Slurm jobs and stop its drivers on this machine; it can be resumed."""
    from scaling.store.folder import ResultsFolder
    from scaling.sweep.slurm.cancel import cancel as end

    done = end(ResultsFolder(results.absolute()), say.note)
    if as_json:
        say.data(asdict(done))
    else:
        for job in done.jobs:
            print(f"cancelled Slurm job {job}")
        for process in done.processes:
            print(f"asked the driver with process id {process} to stop")
        if not (done.jobs or done.processes or done.problems):
            print("nothing is at work on it")
            return say.next_command("status", results)
    for problem in done.problems:
        say.note(problem)
    if done.problems:
        raise typer.Exit(1)
    if not as_json:
        say.next_command("run", results)
    return None
