"""The files of a study as frozen models, each with a schema version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, Self

from pydantic import Field, PlainSerializer, model_validator
from typing_extensions import TypeVar

from scaling.canonical import canonical_json
from scaling.corpora.content import Content, StoredContent
from scaling.counts.lowering import Lowering
from scaling.counts.params import KnownCounts
from scaling.errors import UserError
from scaling.run import AnyRun, Frozen, Run, run_id
from scaling.store.documents import Document, Id, read

R = TypeVar("R", default=Run)  # whose run a job has: the built-in trainer's, an ExternalRun, or either
Canonical = PlainSerializer(lambda run: json.loads(canonical_json(run)))
CanonicalRun = Annotated[AnyRun, Canonical]
Work = Literal["train", "reevaluate"]


class Result(Frozen):
    """The part of a record that is the same bit for bit however a run came to its end (on CPU).

    ``status`` is ``diverged`` where a training loss, a gradient or the evaluation was not finite; the losses
    are None then. Losses are in nats per token, ``document_losses`` by the name of the held-out document,
    ``set_losses`` by that of the evaluation set, ``average_losses`` by that of an average of the weights;
    ``loss`` is that of the target. ``loss_floor`` is the true entropy of the source's windows,
    ``source_tokens`` the training tokens of each source of a mixture and ``source_epochs`` how often it was
    gone through; ``columns`` is what else a trainer of one's own reports. None where there is no such thing.
    """

    status: Literal["ok", "diverged"]
    status_reason: str | None
    loss: float | None
    loss_se_eval: float | None
    bits_per_byte: float | None
    eval_tokens: int | None
    eval_id: Id
    train_loss: float | None
    steps: int
    tokens: int
    unique_tokens: int
    epochs: float
    params: KnownCounts
    document_losses: dict[str, float] | None
    set_losses: dict[str, float] | None = None
    loss_floor: float | None = None
    source_tokens: dict[str, int] | None = None
    source_epochs: dict[str, float] | None = None
    average_losses: dict[str, float] | None = None
    columns: dict[str, float | int | str | bool | None] | None = None
    flags: tuple[str, ...] = ()

    @property
    def families(self) -> dict[str, float]:
        """Values by evaluation set, source and average of weights, under their names in tables:
        ``loss/SET``, ``tokens/SOURCE``, ``epochs/SOURCE``, ``loss@AVERAGE``."""
        families = {"loss/": self.set_losses, "tokens/": self.source_tokens, "epochs/": self.source_epochs}
        families["loss@"] = self.average_losses
        return {
            f"{start}{name}": value for start, of in families.items() for name, value in (of or {}).items()
        }


class Environment(Frozen):
    """What a job was trained with; None where that is not known."""

    device: str | None = None
    platform: str | None = None
    devices: int | None = None
    python: str | None = None
    versions: dict[str, str] | None = None
    git_commit: str | None = None
    xla_flags: str | None = None
    cpu_affinity: tuple[int, ...] | None = None


class Provenance(Environment):
    """How a run came to its result: times, work, device and versions; None where that is not known.

    ``mfu`` is the run's own share of the peak of the devices it was trained on (Chowdhery et al.,
    arXiv:2204.02311, appendix B), ``peak_memory_bytes`` that of the fullest of them. ``earlier_devices``
    trained it up to a checkpoint that it was resumed from, and are of another kind. ``rules`` are the tuned
    rules of its recipe by field: file and hash.
    """

    wall_seconds: float | None = None
    input_wait_seconds: float | None = None
    tokens_per_second: float | None = None
    mfu: float | None = None
    compile_seconds: float | None = None
    peak_memory_bytes: int | None = None
    lowering: Lowering | None = None
    cpu_seconds: float | None = None
    flops_spent: int | None = None
    started: str | None = None
    finished: str | None = None
    resumed: int | None = None
    earlier_devices: tuple[str, ...] | None = None
    lease_token: int | None = None
    reevaluated: str | None = None
    rules: dict[str, str] | None = None


class Record(Document):
    """``record.json``: a run that has ended."""

    run_id: Id
    result: Result
    execution: Provenance


class PlanData(Frozen):
    """The data of all runs, and how they are evaluated. ``content`` is what a job opens; plans of earlier
    versions have none."""

    corpus: str
    tokenizer: str
    context: int
    eval_documents: int
    eval_tokens: int
    fingerprint: str
    eval_id: str
    content: Content | None = None

    @property
    def key(self) -> tuple[str, int, int | None]:
        """What tells these data from others of the same plan: fingerprint, context, unique tokens."""
        return self.fingerprint, self.context, self.content.unique_tokens if self.content else None

    @property
    def evaluated_tokens(self) -> int:
        """Tokens of all evaluation sets together."""
        match self.content:
            case StoredContent(sets=sets):
                return sum(part.tokens for part in sets)
            case _:
                return self.eval_tokens


class RunEMA(Frozen):
    """An exponential average of weights over all steps, debiased."""

    kind: Literal["ema"] = "ema"
    name: str
    decay: float


class RunMerge(Frozen):
    """The mean of the weights after each of ``steps``, the last of which is the run's end."""

    kind: Literal["merge"] = "merge"
    name: str
    steps: tuple[int, ...]


class JobRun(Frozen, Generic[R]):
    """A run that a job is asked to train; its id, which names a folder, is that of its content.

    ``start`` is where the weights lie that ``run.init_from`` names: a file, or a checkpoint. ``evaluate_at``
    are steps before its end; None: that was not asked for. Exponential averages are the same for all runs of
    a job.
    """

    run_id: Id
    label: str
    run: Annotated[R, Canonical]
    flops_spent: int
    start: str | None = None
    evaluate_at: tuple[int, ...] | None = None
    averages: tuple[Annotated[RunEMA | RunMerge, Field(discriminator="kind")], ...] = ()
    rules: dict[str, str] | None = None

    @model_validator(mode="after")
    def _named_by_content(self) -> Self:
        content: Any = self.run
        if run_id(content) != self.run_id:
            raise ValueError(f"names a run {self.run_id!r} whose content is {run_id(content)}")
        return self


class JobCommand(Frozen):
    """How somebody's own trainer is started. No part of any identity.

    ``argv`` has ``{run}`` where the path of run.json goes and ``{out}`` where that of the run's folder does;
    it is started in ``directory``. ``resume``: it goes on from what it left in that folder; else a stopped
    run starts again. It has ``grace_seconds`` to save and exit after SIGTERM.
    """

    argv: tuple[str, ...]
    directory: str
    resume: bool
    grace_seconds: float


class JobExecution(Frozen):
    """The part of a study's execution that a training process needs. A chunk ends at multiples of
    ``chunk_steps``, and at each of ``stops``; ``profile_steps`` are to be traced. ``command`` trains external
    runs."""

    checkpoint_seconds: float
    chunk_steps: int | None = None
    stops: tuple[int, ...] = ()
    profile_steps: int | None = None
    keep_final: bool
    lease_seconds: float
    timeout_minutes: float = 60.0
    threads: int
    lowering: Lowering = Lowering()
    command: JobCommand | None = None


class JobSpec(Document, Generic[R]):
    """``job.json``: what a training process is asked to do.

    ``branch_steps`` are those of all runs of the job, done or not: a chunk ends at each, so that curves do
    not depend on what earlier launches did.
    """

    study: str
    job_id: Id
    task: Work = "train"
    data: PlanData
    branch_steps: tuple[int, ...]
    runs: tuple[JobRun[R], ...]
    execution: JobExecution


class JobLowering(Document):
    """``lowering.json``: what a job went over to when it ran out of memory, laid out as it was ``asked`` to
    be. It counts as long as the job is asked for the same."""

    asked: Lowering
    used: Lowering
    reason: str


class JobEnvironment(Document, Environment):
    """``env.json``: the last start of a job, seen from inside."""

    compile_seconds: float


class JobLaunch(Document):
    """``launch.json``: how a job was started last; ``attempt`` counts its starts."""

    attempt: int
    started: str
    host: str
    device: str
    cores: tuple[int, ...]
    command: tuple[str, ...]
    environment: dict[str, str]


class JobProgress(Document):
    """``progress.json``: a job's own report, about one a second, for display only."""

    run_id: str
    step: int
    steps: int
    job_flops_done: float
    job_flops_total: float
    loss: float | None = None


def read_progress(job_dir: Path) -> JobProgress | None:
    """Read a job's progress; None before the first report, and when it cannot be read."""
    try:
        return read(JobProgress, job_dir / "progress.json")
    except UserError:
        return None
