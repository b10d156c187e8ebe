from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from scaling.cli import doctor


def test_gpus_are_named_with_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_device", lambda environ: "gpu")
    monkeypatch.setattr(doctor, "gpu_models", lambda: ["NVIDIA H200", "Abacus 3", "NVIDIA H200"])
    found = doctor._device().found
    assert found.startswith("gpu (2 x NVIDIA H200, 141 GB each; 1 x Abacus 3), ")


def tools(folder: Path, monkeypatch: pytest.MonkeyPatch, **lines: str) -> None:
    """Let these be the only commands that there are, and what they do."""
    for name, line in lines.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_a_machine_need_not_have_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools(tmp_path, monkeypatch)
    check = doctor._slurm()
    assert check.problem is None and check.found.startswith("no commands here")


def test_slurm_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there_are = dict.fromkeys(doctor.SLURM_COMMANDS, "echo slurm 22.05.8")
    tools(tmp_path, monkeypatch, **there_are, sacct="exit 1")
    check = doctor._slurm()
    assert check.problem is None and check.found.startswith("slurm 22.05.8, without accounting, ")
    (tmp_path / "srun").unlink()
    assert doctor._slurm().problem == "there is no srun"
    tools(tmp_path, monkeypatch, sinfo="echo no contact >&2; exit 1")
    assert doctor._slurm().problem == "sinfo failed: no contact"


def test_without_submitit_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    tools(tmp_path, monkeypatch, **dict.fromkeys(doctor.SLURM_COMMANDS, "echo slurm 22.05.8"))
    monkeypatch.setattr(doctor, "version", missing)
    assert "pip install 'scaling-laws[slurm]'" in doctor._slurm().found
