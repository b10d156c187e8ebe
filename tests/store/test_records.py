"""Files of a study as models; those in ``schema_1/`` were written at commit c9265ab and stay readable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scaling.errors import UserError
from scaling.plan.plan import Plan
from scaling.store.documents import Document, parse, read
from scaling.store.failure import Failure
from scaling.store.records import JobEnvironment, JobLaunch, JobProgress, JobSpec, Record, read_progress

OLD = Path(__file__).with_name("schema_1")
RECORD = json.loads((OLD / "record.json").read_text())


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("record", Record),
        ("error", Failure),
        ("job", JobSpec),
        ("env", JobEnvironment),
        ("launch", JobLaunch),
        ("progress", JobProgress),
        ("plan", Plan),
    ],
)
def test_files_of_schema_1_are_read_and_written_as_they_were(name: str, model: type[Document]) -> None:
    document = read(model, OLD / f"{name}.json")
    assert document is not None
    written = {"schema": 1, **json.loads((OLD / f"{name}.json").read_text())}
    if name == "plan":  # added later
        open_ = dict.fromkeys(("devices", "micro_batch", "remat", "pack"), "auto")
        several = {"mesh": None, "hosts": 1, "launcher": None, "trackers": [], "price_per_device_hour": None}
        written["execution"] = {"kind": "local"} | open_ | several | written["execution"]
        written["data"] = {**written["data"], "content": None}
        added = {"start": None, "starts_from": None, "variant": None, "values": {}, "rules": None}
        written["runs"] = [run | added for run in written["runs"]]
        written |= {"every": None, "averages": [], "other_data": [], "axes": [], "command": None}
        written |= dict.fromkeys(("folder", "question", "unfinished"))
    assert document.to_json() == written


def test_unknown_keys_schemas_and_values_are_refused_with_their_place(tmp_path: Path) -> None:
    assert read(Record, tmp_path / "none.json") is None
    for change, message in (
        ({"schema": 2}, "schema: Input should be 1; delete it"),
        ({"extra": 1}, "extra: Extra inputs are not permitted"),
        ({"run_id": "../../etc"}, "run_id: "),
        ({"result": RECORD["result"] | {"loss": "low"}}, "result.loss: "),
    ):
        with pytest.raises(UserError, match=message):
            parse(Record, RECORD | change, "record.json", "delete it")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UserError, match=r"bad\.json: Invalid JSON.*delete it to make it again"):
        read(Record, tmp_path / "bad.json")


def test_progress_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert read_progress(tmp_path) is None
    for text in ("{", "[1]", '{"step": 1}'):
        (tmp_path / "progress.json").write_text(text)
        assert read_progress(tmp_path) is None
