"""Files that a fault left torn, emptied, changed or missing, between two launches."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

from benchmarks.faults.study import Row, Trial, cleared, differences, wait_for

Damage = Callable[[Path, Random], None]


def cut(path: Path, chance: Random) -> None:
    os.truncate(path, chance.randrange(max(1, path.stat().st_size)))


def append_garbage(path: Path, chance: Random) -> None:
    with path.open("ab") as file:
        file.write(chance.randbytes(chance.randint(1, 200)))


def zero_block(path: Path, chance: Random) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(chance.randrange(max(1, size)))
        file.write(bytes(min(512, max(1, size - file.tell()))))


def flip_byte(path: Path, chance: Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 0xFF
    path.write_bytes(content)


def empty(path: Path, chance: Random) -> None:
    path.write_bytes(b"")


def delete(path: Path, chance: Random) -> None:
    path.unlink()


# Pattern of the files of a study, and how they are damaged: the newest that is not empty, but for records of
# runs that are not done: what a done run has was on the disk before its record.
DAMAGES: dict[str, tuple[str, tuple[Damage, ...]]] = {
    "metrics.jsonl": ("runs/*/metrics.jsonl", (cut, append_garbage, zero_block, empty, delete)),
    "trunk.jsonl": ("jobs/*/trunk.jsonl", (cut, append_garbage, zero_block, delete)),
    "newest checkpoint": ("jobs/*/checkpoints/*/*/state/**/*", (cut, flip_byte, empty, delete)),
    "its manifest": ("jobs/*/checkpoints/*/*/manifest.json", (cut, flip_byte, delete)),
    "record.json": ("runs/*/record.json", (cut, zero_block, empty)),
    "run.json": ("runs/*/run.json", (cut, delete)),
    "job.json": ("jobs/*/job.json", (cut,)),
    "launch.json": ("jobs/*/launch.json", (cut,)),
    "lease": ("jobs/*/lease", (cut, flip_byte, empty, delete)),
    "progress.json": ("jobs/*/progress.json", (cut,)),
    "env.json": ("jobs/*/env.json", (cut,)),
    "log.txt": ("jobs/*/log.txt", (append_garbage, delete)),
    "study.yaml": ("study.yaml", (cut, append_garbage, delete)),
}
SHORT = ("metrics.jsonl", "newest checkpoint", "record.json")


def section(calm: Path, place: Path, chance: Random, *, short: bool) -> list[Row]:
    """Each damage is done to a killed study, which is launched again; then it must end like the calm one."""
    wanted = [
        (name, how) for name, (_, ways) in DAMAGES.items() for how in ways if not short or name in SHORT
    ]
    chance.shuffle(wanted)
    wanted = wanted[:4] if short else wanted
    rows = {name: Row(f"damaged {name}") for name, _ in wanted}
    number, left = 0, wanted
    while left:
        number += 1
        with cleared(Trial(place / f"torn-{number}")) as trial:
            done, left = _damage(trial, left, chance)
            problems = trial.finish() or differences(calm, trial)
            for name, how in done:
                rows[name].add(problems)
                rows[name].note = ", ".join(filter(None, (rows[name].note, how.__name__.replace("_", " "))))
            if not done:
                rows[left[0][0]].add([f"no {left[0][0]} was found to damage"])
                left = left[1:]
            ended = trial
    complete = () if short else (_error_json, _plan, _forecast)
    return [*rows.values(), *(check(ended, calm, chance) for check in complete)]


def _damage(trial: Trial, wanted: list, chance: Random) -> tuple[list, list]:
    """Launch, kill while runs are trained, damage what there is, again: until the study is complete."""
    done, left = [], list(wanted)
    while left:
        process = trial.start()
        began = trial.progress()
        wait_for(lambda p=process, b=began: p.poll() is not None or trial.progress() != b)
        wait_for(lambda p=process: p.poll() is not None, chance.uniform(0.3, 3))
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        wait_for(lambda: not trial.jobs(), 10)
        for name, how in list(left)[:6]:
            if (path := _newest(trial.folder, DAMAGES[name][0])) and name not in [n for n, _ in done[-2:]]:
                how(path, chance)
                done.append((name, how))
                left.remove((name, how))
                if len(done) % 2 == 0:
                    break
    return done, left


def _newest(folder: Path, pattern: str) -> Path | None:
    found = [path for path in folder.glob(pattern) if path.is_file() and path.stat().st_size]
    if not pattern.endswith("record.json"):
        found = [path for path in found if not path.with_name("record.json").exists()]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def _error_json(trial: Trial, calm: Path, chance: Random) -> Row:
    """A damaged error.json, and a run to do."""
    row = Row("damaged error.json")
    for how in (cut, empty):
        (run, *_) = sorted((trial.folder / "runs").iterdir())
        (run / "record.json").unlink()
        (run / "error.json").write_text('{"kind": "exception", "message": "a fault", "attempt": 1}')
        how(run / "error.json", chance)
        row.add(trial.finish(2) or differences(calm, trial))
    return row


def _plan(trial: Trial, calm: Path, chance: Random) -> Row:
    """A damaged plan.json: refused with what to do, or made again."""
    row, plan = Row("damaged plan.json"), trial.folder / "plan.json"
    for how in (cut, zero_block, empty, append_garbage):
        how(plan, chance)
        code, said = trial.run()
        problems = []
        if code:
            row.note = f"exit code {code}, which says to delete it; then complete"
            if code != 2 or "Traceback" in said or "plan.json" not in said or "delete it" not in said:
                problems = [f"plan.json, {how.__name__}: exit code {code}: {said[-300:]}"]
            plan.unlink()
        row.add(problems + (trial.finish(2) or differences(calm, trial)))
    return row


def _forecast(trial: Trial, calm: Path, chance: Random) -> Row:
    """A changed forecast, status or score is refused by name, and never used."""
    row = Row("damaged forecasts/*.json")
    for path in sorted((trial.folder / "forecasts").glob("*.json")):
        for how in (cut, flip_byte, empty):
            good = path.read_bytes()
            how(path, chance)
            code, said = trial.run()
            refused = code == 2 and path.name in said and "Traceback" not in said
            row.add([] if refused else [f"{path.name}, {how.__name__}: exit code {code}: {said[-300:]}"])
            path.write_bytes(good)
    row.add(trial.finish(1) or differences(calm, trial))
    row.note = "refused with exit code 2; restored, all is as before"
    return row
