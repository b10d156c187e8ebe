"""Between the files of this package and those of a command: what it is asked, and what it answered."""

from __future__ import annotations

from pathlib import Path

from scaling.run import ExternalRun
from scaling.store.records import JobRun, JobSpec, Result
from scaling.supervisor.contract import CHECKPOINTS, METRICS, RESULT, Paths, ResultFile, RunFile, Size


def run_file(
    job: JobSpec[ExternalRun], member: JobRun[ExternalRun], start: int, resumed: bool, own: Path
) -> RunFile:
    """Say what a command is asked to train.

    Args:
        job: its job.
        member: the run.
        start: which start of it.
        resumed: whether an earlier one left something.
        own: the folder of the command.
    """
    run, out = member.run, own.absolute()
    size = run.size
    return RunFile(
        schema=1,
        run_id=member.run_id,
        start=start,
        resumed=resumed,
        study=job.study,
        label=member.label,
        size=Size(
            name=size.name, params=size.params, flops_per_token=size.flops_per_token, config=size.config
        ),
        data=run.data.model_dump(mode="json", exclude_none=True),
        context=run.context,
        steps=run.steps,
        batch_sequences=run.batch_sequences,
        batch_tokens=run.batch_tokens,
        tokens=run.tokens,
        learning_rate=run.recipe.get("learning_rate"),
        schedule=run.recipe.get("schedule"),
        recipe=run.recipe,
        seed=run.seed,
        order=run.order_seed,
        evaluate_at=member.evaluate_at or (),
        checkpoint_seconds=job.execution.checkpoint_seconds,
        paths=Paths(
            out=str(out),
            metrics=str(out / METRICS),
            result=str(out / RESULT),
            checkpoints=str(out / CHECKPOINTS),
        ),
    )


def make_result(run: ExternalRun, eval_id: str, given: ResultFile, flags: tuple[str, ...]) -> Result:
    """Return the result of a run as the command gave it.

    Args:
        run: the run.
        eval_id: of its plan.
        given: what was checked.
        flags: for the table.
    """
    reason = given.divergence
    return Result(
        status="diverged" if reason else "ok",
        status_reason=reason,
        loss=None if reason else given.loss,
        loss_se_eval=None if reason else given.loss_se,
        bits_per_byte=None if reason else given.bits_per_byte,
        eval_tokens=given.eval_tokens,
        eval_id=eval_id,
        train_loss=None if reason else given.train_loss,
        steps=run.steps,
        tokens=run.tokens,
        unique_tokens=min(run.tokens, run.data.tokens),
        epochs=run.tokens / run.data.tokens,
        params=run.counts,
        document_losses=None,
        columns=given.columns or None,
        flags=flags,
    )
