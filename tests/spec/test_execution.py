"""Devices, meshes and memory as a spec writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from scaling.counts.lowering import MeshSizes
from scaling.errors import UserError
from scaling.plan.expand import plan_spec
from scaling.spec.allocation import bytes_of, seconds_of
from scaling.spec.execution import Execution, SlurmExecution
from scaling.spec.load import load_study, study_from_dict
from scaling.spec.trackers import TensorBoardTracker, WandbTracker
from tests.plan.studies import BASE, plan_of


def problems_of(**execution: Any) -> str:
    with pytest.raises(UserError) as caught:
        study_from_dict(BASE | {"execution": execution})
    return str(caught.value)


def test_devices_of_a_job() -> None:
    study = study_from_dict(BASE | {"execution": {"mesh": {"data": 2, "fsdp": 4}}})
    assert study.execution.mesh and study.execution.mesh.sizes == MeshSizes(data=2, fsdp=4)
    assert study.execution.job_devices == 8
    assert Execution().job_devices is None and Execution(devices=3).job_devices == 3
    assert study_from_dict(BASE | {"execution": {"mesh": "auto"}}).execution == Execution()


def test_where_jobs_run() -> None:
    written = {"kind": "slurm", "time": "1.5 h", "memory": "32 GB", "nodes": 2, "extra": {"exclusive": True}}
    execution = study_from_dict(BASE | {"execution": written}).execution
    assert isinstance(execution, SlurmExecution) and execution.nodes == 2
    assert (seconds_of(execution.time or ""), bytes_of(execution.memory or "")) == (5400, 32 * 10**9)
    assert type(study_from_dict(BASE | {"execution": {"threads": 2}}).execution) is Execution
    plan = plan_of(execution=written)
    assert type(plan).from_json(plan.to_json()).execution == execution
    assert "did you mean 'slurm'" in problems_of(kind="slurn")
    assert "such as '30 min', '2 h' or '1 d'" in problems_of(kind="slurm", time="2 hours")
    assert "unknown name" in problems_of(partition="main")


def test_fields_that_do_not_go_together() -> None:
    text = problems_of(mesh={"data": 2, "tensor": 2}, devices=8)
    assert (
        "execution.devices: is 8, but execution.mesh has run 1 x data 2 x fsdp 1 x tensor 2 = 4 devices"
        in text
    )
    text = problems_of(mesh={"run": 4}, pack=6)
    assert "6: the runs of a pack are a power of two on each of mesh.run = 4 devices; use 4 or 8" in text
    assert "5: the runs of a pack are a power of two; use 4 or 8" in problems_of(pack=5)
    assert "use 6 or 12" in problems_of(mesh={"run": 3}, pack=9)
    assert problems_of(mesh={"run": 3}, pack=2).endswith("use 3")
    assert [study_from_dict(BASE | {"execution": {"pack": k}}).execution.pack for k in (1, 2, 64)] == [
        1,
        2,
        64,
    ]
    assert "execution.mesh.run: 2, but runs are not packed" in problems_of(mesh={"run": 2, "tensor": 2})
    assert "execution.pack: 2, but runs are not packed where devices share weights (fsdp = 2)" in problems_of(
        mesh={"fsdp": 2}, pack=2
    )
    study_from_dict(BASE | {"execution": {"mesh": {"fsdp": 2}, "pack": 1, "devices": 2}})


def test_several_hosts() -> None:
    launched = {"hosts": 2, "launcher": "srun --ntasks-per-node=1"}
    study = study_from_dict(BASE | {"execution": launched | {"mesh": {"fsdp": 16}, "workers": 1, "pack": 1}})
    assert (study.execution.job_devices, study.execution.host_devices) == (16, 8)
    assert Execution().host_devices is None
    assert "execution.hosts: 2 hosts need execution.launcher" in problems_of(hosts=2)
    assert "execution.launcher: 'srun' starts processes on several hosts" in problems_of(launcher="srun")
    text = problems_of(**launched, workers=2, pack=4, devices=3)
    assert "execution.workers: 2, but 2 hosts train one job of one run at a time" in text
    assert "execution.pack: 4, but 2 hosts" in text
    assert "execution.devices: 3 devices are not the same number on each of 2 hosts" in text
    assert "execution.mesh: 2, but 2 hosts" in problems_of(**launched, mesh={"run": 2})


def test_values_of_no_sense() -> None:
    assert "must be auto or a whole number" in problems_of(devices=0)
    assert "must be a mapping with run, data, fsdp, tensor" in problems_of(mesh=8)
    assert "did you mean 'tensor'" in problems_of(mesh={"tensors": 2})
    assert "must be >= 1" in problems_of(mesh={"data": 0})
    assert "did you mean 'block'" in problems_of(remat="blok")


def refused(**execution: Any) -> str:
    with pytest.raises(UserError) as caught:
        plan_of(execution=execution)
    return str(caught.value)


def test_what_a_mesh_does_not_divide() -> None:
    """Widths 16 and 32 with heads of 8 channels, 256 bytes of vocabulary, batches of 4 sequences of 64."""
    text = refused(mesh={"tensor": 4})
    assert "4 devices cannot share 2 heads equally, of w16-500st-s0; use 2" in text
    assert text.count("heads") == 1, "the larger size has 4 heads"
    assert "3 devices cannot share 16 channels of the residual stream" in refused(mesh={"fsdp": 3})
    assert "256 entries of the vocabulary" in (text := refused(mesh={"tensor": 3}))
    assert "heads" in text and "channels of the MLP" in text
    text = refused(mesh={"data": 8})
    assert "data x fsdp = 8 devices cannot share 4 sequences equally" in text and "use 4 devices" in text
    plan_of(execution={"mesh": {"data": 2, "fsdp": 2, "tensor": 2}})


def test_what_a_micro_batch_does_not_divide() -> None:
    assert "3 sequences do not divide the batch of 4 of w16-500st-s0; use 2 or 4" in refused(micro_batch=3)
    text = refused(micro_batch=2, mesh={"data": 4})
    assert "execution.micro_batch" in text and "cannot share 2 of 4 sequences at a time" in text
    assert "use 4, or other devices" in text
    text = refused(micro_batch=3, mesh={"data": 3})
    assert "3 sequences do not divide" in text and "3 devices cannot share 4 sequences" in text, (
        "both at once"
    )
    plan_of(execution={"micro_batch": 100, "mesh": {"data": 4}})  # taken whole
    with pytest.raises(UserError, match="has experts, whose balance is that of its whole batch of 4"):
        plan_of(execution={"micro_batch": 2}, family__experts={"count": 4, "active": 2})


def test_slurm_fields_that_do_not_go_together() -> None:
    text = problems_of(kind="slurm", nodes=2, hosts=2, launcher="srun", workers=4, devices=3)
    assert "execution.hosts: is for hosts that you have; on Slurm `nodes` says how many" in text
    assert "execution.launcher: is for hosts that you have" in text
    assert "execution.workers: 4, but 2 nodes train one job of one run at a time; use 1" in text
    assert "execution.devices: 3 devices are not the same number on each of 2 nodes" in text
    text = problems_of(kind="slurm", extra={"mem": "4G", "array": "0-3", "requeue": True, "Mail_User": "me"})
    assert "execution.extra.mem: repeats execution.memory; use memory: instead" in problems_of(
        kind="slurm", extra={"mem": "4G", "requeue": True}
    )
    assert "must be the long name of an option of sbatch" in text
    assert "execution.extra.requeue: is given by the study itself" in problems_of(
        kind="slurm", extra={"requeue": True}
    )
    lines = problems_of(kind="slurm", partition="main\nrm", extra={"comment": "a\nb"})
    assert lines.count("must be one line of text") == 2


def test_larger_models_are_asked_for_differently() -> None:
    larger = [{"params": 1e9, "nodes": 4, "time": "24 h"}, {"params": 1e8, "cpus": 8, "devices": 2}]
    execution = SlurmExecution.model_validate({"kind": "slurm", "time": "1 h", "larger": larger})
    small, middle, large = (execution.for_size(size) for size in (1e7, 1e8, 2e9))
    assert (small.nodes, small.time, small.cpus) == (1, "1 h", None)
    assert (middle.nodes, middle.time, middle.cpus, middle.job_devices) == (1, "1 h", 8, 2)
    assert (large.nodes, large.time, large.cpus) == (4, "24 h", None)
    assert not (small.larger or middle.larger or large.larger)
    text = problems_of(kind="slurm", workers=2, larger=[*larger, larger[0]])
    assert "execution.larger[0].workers: 2, but 4 nodes train one job" in text
    assert "execution.larger[2].params: 1e+09 is given twice" in text
    assert "execution.workers" not in text


def test_trackers() -> None:
    written = [{"kind": "wandb", "project": "p", "mode": "offline"}, {"kind": "tensorboard"}]
    plan = plan_of(execution={"trackers": written})
    wandb, tensorboard = type(plan).from_json(plan.to_json()).execution.trackers
    assert isinstance(wandb, WandbTracker) and (wandb.project, wandb.mode) == ("p", "offline")
    assert tensorboard == TensorBoardTracker(kind="tensorboard")
    assert plan.runs == plan_of().runs
    assert "did you mean 'wandb'" in problems_of(trackers=[{"kind": "wandbb"}])
    assert "must be auto, online or offline" in problems_of(trackers=[{"kind": "wandb", "mode": "on"}])
    assert "unknown name" in problems_of(trackers=[{"kind": "tensorboard", "project": "p"}])
    twice = problems_of(
        trackers=[{"kind": "trackio"}, {"kind": "wandb"}, {"kind": "trackio", "project": "p"}]
    )
    assert "execution.trackers[2].kind: 'trackio' stands there twice" in twice


def test_a_profile_is_laid_over_the_execution(tmp_path: Path) -> None:
    spec, profile = tmp_path / "study.yaml", tmp_path / "cluster.yaml"
    YAML().dump(BASE | {"execution": {"workers": 2, "threads": 3}}, spec)
    profile.write_text("kind: slurm\ntime: 2 h\nthreads: 1\nextra: {mail-user: me}\n")
    execution = load_study(spec, ["execution.time=3 h"], profile).execution
    assert isinstance(execution, SlurmExecution)
    assert (execution.workers, execution.threads, execution.time) == (2, 1, "3 h")
    plan = plan_spec(spec, profile=profile)[1]
    assert plan.execution.kind == "slurm" and plan.runs == plan_spec(spec)[1].runs


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kind: slurm\ntime: 2 hours\n", "cluster.yaml:2:7: execution.time: must be a positive number with"),
        ("kind: slurm\npartiton: a\n", "cluster.yaml:2:1: execution.partiton: unknown name 'partiton'; did"),
        ("partition: a\n", "cluster.yaml:1:1: execution.partition: unknown name 'partition'; it needs 'kind"),
        ("kind: slurm\nnodes: 2\nworkers: 3\n", "cluster.yaml:3:10: execution.workers: 3, but 2 nodes"),
        ("- kind: slurm\n", "cluster.yaml:1:1: must be a mapping, is a list; a profile has the fields of"),
        ("kind: slurm\nkind: local\n", "cluster.yaml:2:1: kind: given twice, first on line 1"),
    ],
)
def test_mistakes_in_a_profile_have_their_places(tmp_path: Path, text: str, problem: str) -> None:
    spec, profile = tmp_path / "study.yaml", tmp_path / "cluster.yaml"
    YAML().dump(BASE | {"execution": {"threads": 2}}, spec)
    profile.write_text(text)
    with pytest.raises(UserError) as caught:
        load_study(spec, profile=profile)
    assert f"{tmp_path}/{problem}" in str(caught.value)
    with pytest.raises(UserError, match=r"did you mean '.*cluster\.yaml'\?"):
        load_study(spec, profile=tmp_path / "clusters.yaml")


def test_a_price_is_an_amount_of_a_currency() -> None:
    price = {"amount": 2, "currency": "EUR"}
    written = study_from_dict(BASE | {"execution": {"price_per_device_hour": price}}).execution
    assert written.price_per_device_hour and written.price_per_device_hour.amount == 2.0
    text = problems_of(price_per_device_hour={"amount": -1, "currency": "€"})
    assert "amount: must be >= 0" in text and "must be the name of a currency" in text
    assert "mapping with amount, currency" in problems_of(price_per_device_hour=2)
