"""``data prepare``, ``data inspect``, ``data verify``: parse and print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaling.cli import say
from scaling.cli.meter import metered
from scaling.cli.options import Json, Overrides, Spec
from scaling.errors import Complaint, UserError

if TYPE_CHECKING:
    from scaling.data.facts import StoreFacts
    from scaling.data.index import DataIndex
    from scaling.data.request import Request
    from scaling.data.stores import Stores
    from scaling.spec.models import Study

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Prepare, inspect and verify corpora.")

SPEC_OR_STORE = "an experiment spec, or a prepared store: its folder, or its name (fingerprint)"
SpecOrStore = Annotated[str, typer.Argument(metavar="SPEC|STORE", help=SPEC_OR_STORE)]
Processes = Annotated[
    int | None, typer.Option(min=1, help="processes that share the work; left out: one a core")
]


@app.command()
def prepare(
    spec: Spec, overrides: Overrides = None, processes: Processes = None, as_json: Json = False
) -> None:
    """Cut a corpus into tokens on disk; resumes, and does nothing that was done before."""
    from scaling.cli.data_text import prepared_text
    from scaling.data.stores import Stores

    try:
        with metered() as report:
            indexes = _indexes(spec, overrides, Stores(_count(processes), report=report))
    except KeyboardInterrupt:
        say.note("interrupted; run the same command again: what is done is kept")
        raise typer.Exit(130) from None
    index, stores = (
        indexes[0],
        list({key: of for index in indexes for key, of in index.stores.items()}.values()),
    )
    if as_json:
        return say.data(
            {"fingerprint": index.fingerprint, "stores": [_index_json(facts) for facts in stores]}
        )
    print(
        "\n\n".join(map(prepared_text, stores)) or f"{index.corpus} generates its tokens: nothing to prepare"
    )
    say.next_command("data", "inspect", spec, *say.set_again(overrides))
    return None


@app.command()
def inspect(target: SpecOrStore, overrides: Overrides = None, as_json: Json = False) -> None:
    """Say what is in a corpus: sizes, lengths, repetitions, scripts, overlap, a batch as text."""
    from scaling.cli.data_text import batch_of_store, batch_of_study, inspection_text
    from scaling.data.inspect import inspect_store

    index = _index(Path(target), overrides) if _is_spec(target) else None
    stores = list(index.stores.values()) if index is not None else [_store(target)]
    with metered() as report:
        reports = [inspect_store(facts, report) for facts in stores]
        batch = batch_of_study(index) if index is not None else batch_of_store(stores[0])
    if as_json:
        return say.data({"stores": [found.to_json() for found in reports], **batch.to_json()})
    print(inspection_text(reports, batch))
    if index is not None:
        say.next_command("plan", target, *say.set_again(overrides))
    else:
        say.next_command("data", "verify", target)
    return None


@app.command()
def verify(
    target: SpecOrStore, overrides: Overrides = None, processes: Processes = None, as_json: Json = False
) -> None:
    """Check every file of a prepared corpus against its sha256."""
    from scaling.data.facts import read_facts, store_folder
    from scaling.data.verify import verify as verify_store

    if _is_spec(target):
        index = _index(Path(target), overrides, _as_prepared())
        folders = [facts.folder for facts in index.stores.values()]
    else:
        folders = [Path(target) if Path(target).is_dir() else store_folder(target)]
        if not folders[0].is_dir():
            read_facts(target)  # which says that there is none
    with metered() as report:
        wrong = {folder: verify_store(folder, _count(processes), report) for folder in folders}
    if as_json:
        stores = [{"folder": str(f), "problems": [vars(c) for c in found]} for f, found in wrong.items()]
        say.data({"whole": not any(wrong.values()), "stores": stores})
    else:
        for folder, found in wrong.items():
            print(f"{folder}: whole" if not found else "\n".join(map(str, found)))
        if not folders:
            print("its tokens are generated: nothing to verify")
        if not any(wrong.values()):
            say.next_command("data", "inspect", target)
    if any(wrong.values()):
        raise typer.Exit(1)


def _is_spec(target: str) -> bool:
    return Path(target).suffix in (".yaml", ".yml") or Path(target).is_file()


def _count(processes: int | None) -> int:
    from scaling.sweep.machine import usable_cores

    return processes or len(usable_cores())


def _index(spec: Path, overrides: list[str] | None, stores: Stores | None = None) -> DataIndex:
    """The data of a spec; stores left out: small ones are prepared."""
    from scaling.plan.data import SMALL, resolve_data

    return resolve_data(_study(spec, overrides), stores or SMALL)


def _indexes(spec: Path, overrides: list[str] | None, stores: Stores) -> list[DataIndex]:
    """All data that the axes and variants of a spec ask for."""
    from scaling.plan.expand import resolve_all_data

    return resolve_all_data(_study(spec, overrides), stores)


def _study(spec: Path, overrides: list[str] | None) -> Study:
    """Read a spec whose data are prepared here; raises UserError where its own trainer reads them."""
    from scaling.corpora.external import External
    from scaling.plan.kept import load_spec

    study = load_spec(spec, overrides or ())
    if isinstance(study.data.corpus, External):
        message = "data.corpus is external: the study's own trainer reads it"
        raise UserError(Complaint(message, str(spec), "there is nothing to prepare or to look at here"))
    return study


def _as_prepared() -> Stores:
    """The stores that corpora were prepared to, whole or not."""
    from scaling.data.request import answered
    from scaling.data.stores import Stores, Unprepared

    class AsPrepared(Stores):
        def store(self, request: Request) -> StoreFacts:
            here = request.corpus.is_here(request.folder)  # else the key would fetch it
            facts = answered(request.key()) if here else None
            if facts is None:
                raise Unprepared("is not prepared")
            return facts

    return AsPrepared()


def _store(name: str) -> StoreFacts:
    from scaling.data.facts import read_facts, store_folder

    folder = Path(name)
    if not folder.is_dir():
        return read_facts(name)
    if folder.resolve() != store_folder(folder.resolve().name).resolve():
        hint = f"set SCALING_CACHE to the folder that has it in data/, or give a store of {store_folder('')}"
        raise UserError(Complaint("is no store of the cache in use", name, hint))
    return read_facts(folder.resolve().name)


def _index_json(facts: StoreFacts) -> dict[str, Any]:
    return {"folder": str(facts.folder), **facts.model_dump(mode="json", by_alias=True)}
