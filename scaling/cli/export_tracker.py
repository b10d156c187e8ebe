"""``scaling export --to``: runs that are there, sent to a tracker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaling.cli import say
from scaling.cli.options import Options
from scaling.errors import Complaint, UserError

if TYPE_CHECKING:
    from scaling.spec.execution import Execution
    from scaling.spec.trackers import AnyTracker


@dataclass(frozen=True)
class Destination(Options):
    """Fields of a tracker, in place of those in the spec."""

    project: Annotated[str | None, typer.Option(help="of wandb and trackio; left out: the study")] = None
    entity: Annotated[str | None, typer.Option(help="of wandb: user or team")] = None
    group: Annotated[str | None, typer.Option(help="of wandb and trackio; left out: the study")] = None
    mode: Annotated[str | None, typer.Option(help="of wandb: auto (default), online, offline")] = None
    dir: Annotated[str | None, typer.Option(metavar="FOLDER", help="where the tracker keeps files")] = None
    space_id: Annotated[
        str | None, typer.Option(metavar="SPACE", help="of trackio: a Hugging Face Space")
    ] = None


def send(results: Path, kind: str, destination: Destination, *, again: bool, as_json: bool) -> None:
    """Send what the tracker lacks; exits with 1 where not all could be sent.

    Args:
        results: the folder of the study.
        kind: of the tracker.
        destination: fields that were typed.
        again: send results that were sent too.
        as_json: what is printed of it.
    """
    from scaling.cli.watch import describe
    from scaling.plan.plan import load_plan
    from scaling.store.folder import ResultsFolder
    from scaling.sweep.events import TrackerBehind, TrackerOpened, TrackerSent
    from scaling.sweep.trackers import TrackerProcess

    folder = ResultsFolder(results.absolute())
    tracker = _tracker(kind, load_plan(folder).execution, destination)
    process = TrackerProcess(folder, tracker, "--once", *(["--again"] if again else []))
    sent: dict[str, Any] = {"tracker": kind, "where": None, "ended": 0, "of": None, "problem": None}
    for event in process.until_it_ends():
        match event:
            case TrackerOpened():
                sent["where"] = event.where
            case TrackerBehind():
                sent["problem"] = event.reason
            case TrackerSent():
                sent |= {"ended": event.ended, "of": event.of}
        if not as_json and not (isinstance(event, TrackerSent) and event.last):
            say.note(describe(event) or "")
    if as_json:
        say.data(sent)
    elif sent["of"] is not None:
        print(describe(TrackerSent(kind, sent["ended"], sent["of"], last=True)))
    if sent["problem"]:
        raise typer.Exit(1)


def _tracker(kind: str, execution: Execution, destination: Destination) -> AnyTracker:
    """Return the tracker of that kind in the spec, with what was typed in place of its fields.

    Raises:
        UserError: there is none such, or it has no such fields.
    """
    from pydantic import ValidationError

    from scaling.spec.explain import explain
    from scaling.spec.trackers import TRACKERS

    if kind not in TRACKERS:
        problem = f"--to {kind}: no such tracker"
        raise UserError(Complaint(problem, hint=f"use one of {', '.join(TRACKERS)}"))
    written = [tracker for tracker in execution.trackers if tracker.kind == kind]
    given = written[0].model_dump(exclude_unset=True) if written else {"kind": kind}
    try:
        return TRACKERS[kind].model_validate(given | destination.arguments())
    except ValidationError as error:
        findings = explain(error, root=TRACKERS[kind])
        raise UserError(
            *(Complaint(f"--{'.'.join(map(str, f.path))}: {f.message}", hint=f.hint) for f in findings)
        ) from None
