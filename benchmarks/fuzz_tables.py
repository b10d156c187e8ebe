"""Mutated tables through ``analysis.load`` and ``fit``: a Fit or an AnalysisError each, and no wrong law.

    python benchmarks/fuzz_tables.py [--count 1000] [--wild 1000] [--seed 0] [--keep fuzz-failures]

``--count`` tables are broken text. One that is refused is tried again with its units stated, so that
magnitudes nobody would believe reach the fit as well. Not allowed: any other exception, a warning, anything
on stderr, more than 20 s.

``--wild`` tables are one clean table as people have it (``wild_tables.py``). What a refusal advises is
followed to the letter, of alternatives any. Not allowed, besides the above: a fit with status ok, a parameter
of which lies outside its interval of the clean table, and no note that names the cause.

Tables that break this are kept as files; exit code 1 if there are any. The same seed makes the same tables.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import re
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import analysis
from benchmarks.wild_tables import Wild, clean, wild_table
from tests.analysis.advice import load_as_advised

SECONDS = 20
UNITS = {"params": "1", "tokens": "1", "loss": "nats"}
HEADERS = (
    "params,tokens,loss",
    "run_id,label,role,status,params,tokens,flops,seed,loss",
    "Model Size,Training FLOP,loss",
    "N,D,C,L",
    "name,n_params,train_tokens,val_loss,val_bpb,lr,state",
    "trunk_id,params,params_body,tokens,unique_tokens,loss,status,status_reason,budget",
)
ROLE = ("fit", "fit", "fit", "fit", "noise", "holdout", "tuning", "")
STATUS = ("ok", "ok", "ok", "ok", "", "diverged")
CELLS = """
1e400 -1e400 1e308 1e-320 5e-324 -1 -0.0 0 inf -inf Infinity nan NaN NA null None true FALSE 2024-01-01 12:30
1,234,567 1.234.567,8 "3,14" 70M 1.4B 7b 0x10 1_000 １２ ١٢ 9007199254740993 18446744073709551616 1e9999999999
--5 5-5 +8 .5 5. e5 1e 3.1% $5 ∞ é 模型 🦙 ok OK finished fit train =1+1 <b>x</b> ../../x [1] {} 1+2j 1/3
""".split()  # noqa: SIM905
LONG = ("9" * 400, "9" * 5000, "x" * 140_000, "0." + "1" * 3000, "'" * 50, " " * 300, "a\rb", "a\nb", '"')
Mutation = Callable[[random.Random, bytes], bytes]


def table(rng: random.Random) -> bytes:
    """A realistic table of 6 to 30 runs, or of one or none."""
    header = rng.choice(HEADERS).split(",")
    rows = rng.choice((0, 1, 2, *range(6, 31)))
    sizes = [10 ** rng.uniform(6, 10) for _ in range(rng.choice((1, 2, 5, 8)))]
    lines = [",".join(header)]
    for i in range(rows):
        n = rng.choice(sizes)
        d = n * rng.choice((20.0, 10 ** rng.uniform(-1, 3)))
        loss = (1.7 + 400 / n**0.34 + 2000 / d**0.37) * rng.lognormvariate(0, 0.01)
        flops = 6 * n * d * rng.uniform(0.8, 1.3)
        known = {
            **dict.fromkeys(("params", "N", "n_params", "Model Size"), f"{n:.0f}"),
            **dict.fromkeys(("tokens", "D", "train_tokens", "unique_tokens"), f"{d:.0f}"),
            **dict.fromkeys(("flops", "C", "Training FLOP", "budget"), f"{flops:.6g}"),
            **dict.fromkeys(("loss", "L", "val_loss"), f"{loss:.5f}"),
            "params_body": f"{0.9 * n:.0f}", "val_bpb": f"{loss / 3:.5f}", "lr": "3e-4", "seed": str(i % 3),
            "run_id": f"{i:012x}", "trunk_id": f"t{i // 3}", "role": rng.choice(ROLE),
            "status": rng.choice(STATUS), "state": rng.choice(("", "ok", "ok", "ok")),
        }  # fmt: skip
        lines.append(",".join(known.get(column, "x") for column in header))
    return "\n".join(lines).encode() + b"\n"


def _cells(change: Callable[[random.Random, list[list[str]]], None]) -> Mutation:
    """A mutation of the cells of a comma-separated text."""

    def mutate(rng: random.Random, raw: bytes) -> bytes:
        rows = [line.split(",") for line in raw.decode("latin-1").split("\n")]
        change(rng, rows)
        return "\n".join(",".join(row) for row in rows).encode("utf-8", "surrogatepass")

    return mutate


def _put(rng: random.Random, rows: list[list[str]]) -> None:
    for _ in range(rng.choice((1, 1, 3))):
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = rng.choice(("", *CELLS, *LONG))


def _fill_column(rng: random.Random, rows: list[list[str]]) -> None:
    at, cell = rng.randrange(len(rows[0])), rng.choice(("", *CELLS, "1", "7", "70", "1e9", "2.5"))
    for row in rows[1:]:
        if at < len(row):
            row[at] = cell


def _scale_column(rng: random.Random, rows: list[list[str]]) -> None:
    at, scale = rng.randrange(len(rows[0])), rng.choice((1e-9, 1e-6, 1e-3, 1e3, 1e9, 1e200, -1.0, 0.0))
    for row in rows[1:]:
        with contextlib.suppress(ValueError, IndexError):
            row[at] = f"{float(row[at]) * scale:.6g}"


def _header(rng: random.Random, rows: list[list[str]]) -> None:
    other = rng.choice(rows[0])
    choice = (other, "", "N", "loss", "Params", "status", "role", "seed", "`x`", "line", "units_stated", " ")
    rows[0][rng.randrange(len(rows[0]))] = rng.choice(choice)


def _drop_column(rng: random.Random, rows: list[list[str]]) -> None:
    at = rng.randrange(len(rows[0]))
    for row in rows:
        del row[at : at + 1]


def _repeat_rows(rng: random.Random, rows: list[list[str]]) -> None:
    row = list(rng.choice(rows))
    rows[1:] = [list(row) for _ in rows[1:]] if rng.random() < 0.3 else [*rows[1:], row, row]


def _ragged(rng: random.Random, rows: list[list[str]]) -> None:
    row = rng.choice(rows)
    row.extend(rng.choice((["x"], [""], ["1", "2"]))) if rng.random() < 0.5 else row.pop()


def _splice(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw) + 1)
    noise = (
        b"\0",
        b"\xff",
        b"\xc3",
        b'"',
        b"\r",
        b"\n\n",
        b"\xef\xbb\xbf",
        b"\t",
        b";",
        b",,",
        b"\\",
        b"#",
        b"\x1a",
    )
    return raw[:at] + rng.choice(noise) + raw[at + rng.randrange(3) :]


def _swap(rng: random.Random, raw: bytes) -> bytes:
    found = bytearray(raw)
    for _ in range(rng.choice((1, 2, 8))):
        i, j = rng.randrange(len(found)), rng.randrange(len(found))
        found[i], found[j] = found[j], found[i]
    return bytes(found)


MUTATIONS: tuple[Mutation, ...] = (
    *map(
        _cells, (_put, _put, _put, _fill_column, _scale_column, _header, _drop_column, _repeat_rows, _ragged)
    ),
    _splice,
    _swap,
    lambda rng, raw: raw[: rng.randrange(len(raw))],  # cut short
    lambda rng, raw: raw.replace(b",", rng.choice((b";", b"\t", b"|", b", ", b" "))),
    lambda rng, raw: raw.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n"))),
    lambda rng, raw: b"\xef\xbb\xbf" + raw,
    lambda rng, raw: raw.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-32", "utf-16-le"))),
    lambda rng, raw: re.sub(rb"(\d)\.(\d)", rb"\1,\2", raw),  # decimal commas
)


def mutants(count: int, seed: int) -> list[bytes]:
    """``count`` tables with up to three mutations each."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        raw = table(rng)
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            raw = rng.choice(MUTATIONS)(rng, raw) if raw else raw
        found.append(raw)
    return found


@dataclass(frozen=True)
class Outcome:
    """What became of a table; ``fault`` where it is not allowed."""

    kind: str
    seconds: float
    fault: str = ""


def _fit(file: Path) -> str:
    try:
        how, frame = "fit", analysis.load(file)
    except analysis.AnalysisError:
        how, frame = "fit, units stated", analysis.load(file, units=UNITS)
    return f"{how}: {analysis.fit('chinchilla', frame, bootstrap=0).status.code}"


def attempt(file: Path, fit: Callable[[Path], str] = _fit) -> Outcome:
    """Load and fit one table; in the main thread, for the clock that stops what hangs."""

    def late(*_: object) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    start, stderr = time.perf_counter(), io.StringIO()
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stderr(stderr):
        warnings.simplefilter("always")
        try:
            kind, fault = fit(file), ""
        except analysis.AnalysisError as error:
            told = error.problems and all(map(str, error.problems))
            kind, fault = "refused", "" if told else "an empty message"
        except WrongLaw as error:
            kind, fault = "wrong law", str(error)
        except Exception:  # what must not happen, and is to be kept
            kind, fault = "exception", traceback.format_exc()
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
    fault = "\n".join(filter(None, (fault, *map(str, caught), stderr.getvalue())))
    return Outcome(kind if not fault else f"fault: {kind}", time.perf_counter() - start, fault)


class WrongLaw(Exception):
    """A fit that looks fine, with parameters that are not those of the clean table."""


class Judge:
    """What a wild table gives, against the intervals of the clean one."""

    def __init__(self, folder: Path, rng: random.Random):
        clean().to_csv(folder / "clean.csv", index=False)
        self.rng, self.truth = rng, analysis.fit("chinchilla", analysis.load(folder / "clean.csv"))

    def __call__(self, file: Path, wild: Wild) -> str:
        frame, refusals = load_as_advised(file, self.rng.choice)
        fit = analysis.fit("chinchilla", frame, bootstrap=0)
        after = f", after {refusals} refusals" if refusals else ""
        intervals = self.truth.intervals.params
        off = {
            name: value
            for name in self.truth.law.names
            if not intervals[name].low
            <= (value := fit.solution.get(name, float("nan")))
            <= intervals[name].high
        }
        if not off:
            return "right" + after
        if fit.status.code != "ok":
            return "other law, not ok" + after
        notes = " ".join(map(str, fit.notes)).lower()
        if any(cause.lower() in notes for cause in wild.causes):
            return "other law, cause named" + after
        raise WrongLaw(f"{off} {after}\nnotes: {fit.notes}")


@dataclass
class Tally:
    """Outcomes of many tables; those at fault are kept."""

    keep: Path
    outcomes: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome, name: str, raw: bytes, about: str = "") -> None:
        self.outcomes.append(outcome)
        if outcome.fault:
            self.keep.mkdir(parents=True, exist_ok=True)
            (self.keep / name).write_bytes(raw)
            print(f"{self.keep / name}: {outcome.kind} {about}\n{outcome.fault}", flush=True)

    def print(self) -> None:
        for kind, number in Counter(outcome.kind for outcome in self.outcomes).most_common():
            slowest = max(outcome.seconds for outcome in self.outcomes if outcome.kind == kind)
            print(f"{number:6} {kind:40} slowest {slowest:.2f} s")


def judge_wild(count: int, seed: int, folder: Path, tally: Tally) -> None:
    """``count`` wild tables, each judged against the clean one."""
    rng, file = random.Random(seed), folder / "runs.csv"
    judge = Judge(folder, rng)
    for i in range(count):
        wild, changes = wild_table(rng)
        file.write_bytes(wild.text())
        outcome = attempt(file, partial(judge, wild=wild))
        tally.add(outcome, f"wild-{seed}-{i}.csv", file.read_bytes(), changes)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--count", type=int, default=1000)
    options.add_argument("--wild", type=int, default=1000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="where failures are kept")
    asked = options.parse_args()
    broken, wild, cpu = Tally(asked.keep), Tally(asked.keep), time.process_time()
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "runs.csv"
        for i, raw in enumerate(mutants(asked.count, asked.seed)):
            file.write_bytes(raw)
            broken.add(attempt(file), f"table-{asked.seed}-{i}.csv", raw)
        judge_wild(asked.wild, asked.seed, Path(name), wild)
    for tally in (broken, wild):
        tally.print()
    print(f"{time.process_time() - cpu:.1f} CPU s")
    return int(any(outcome.fault for tally in (broken, wild) for outcome in tally.outcomes))


if __name__ == "__main__":
    sys.exit(main())
