"""A spec file, with overrides, to a checked Study. All errors at once, each with its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any, cast

from pydantic import ValidationError, create_model

from scaling.errors import Complaint, UserError
from scaling.spec.checks import check_sections
from scaling.spec.draft import Draft
from scaling.spec.explain import explain, show
from scaling.spec.guess import closest
from scaling.spec.models import Study
from scaling.spec.overlay import lay_over, override
from scaling.spec.source import Finding, Path, Source, shorten
from scaling.spec.text import LARGEST_BYTES, parse
from scaling.spec.together import written_for_built_in
from scaling.spec.variants import variation_findings

# Explaining a mistake takes up to a millisecond, and nobody reads thousands.
MOST_FINDINGS = 500
EARLIER_NAMES: dict[tuple[str, str], tuple[str, str]] = {
    ("data", "eval_documents"): ("evaluation", "documents"),
    ("data", "eval_tokens"): ("evaluation", "tokens"),
}
NO_FOLDER = "name the one that the files of the spec lie in or below, or leave it out for the spec's own"


@dataclass(frozen=True)
class Checked:
    """What came of reading a spec: problems, and what is left without them, so that later checks can add
    theirs: a ``draft`` and the ``study`` that it makes, None where it makes none. With problems it must not
    be run."""

    study: Study | None
    problems: tuple[Complaint, ...]
    draft: Draft

    @property
    def sound(self) -> bool:
        """Whether nothing is known to be wrong, so that it is the study that was written."""
        return self.study is not None and not self.problems

    @property
    def left(self) -> Study:
        """The study, where there is one."""
        assert self.study is not None, "nothing is left of it"
        return self.study

    def clean(self) -> Study:
        """Return the study; raises UserError with all problems, if there are any."""
        if self.problems or self.study is None:
            raise UserError(*self.problems)
        return self.study


def load_study(
    path: str | FilePath, overrides: Sequence[str] = (), profile: str | FilePath | None = None
) -> Study:
    """Read the spec at ``path``, lay a ``profile`` over its execution, apply ``overrides`` such as
    ``recipe.batch_tokens=512``, check everything.

    Raises:
        UserError: every problem of the files and the overrides, in the order of the file.
    """
    return read_study(path, overrides, profile).clean()


def read_study(
    path: str | FilePath,
    overrides: Sequence[str] = (),
    profile: str | FilePath | None = None,
    folder: FilePath | None = None,
) -> Checked:
    """Read as :func:`load_study`, but return problems of content; paths in the spec are relative to
    ``folder``, left out to that of the spec.

    Raises:
        UserError: a file cannot be read or is not a YAML mapping.
    """
    name = str(path)
    tree = parse(_read(FilePath(path), "a spec"), name)
    if tree.value is None:
        raise UserError(Complaint("is empty", name, "a spec starts with 'study: NAME'"))
    raw = tree.value
    if not isinstance(raw, dict):
        raise UserError(Complaint(f"must be a mapping of names to values, is {show(raw)}", f"{name}:1:1"))
    if profile is not None:
        lay_over(tree, _read(FilePath(profile), "a profile"), str(profile))
    problems = [problem for text in overrides for problem in override(tree, text)]
    written = cast(dict[str, Any], raw)
    source = Source(tree.keys, tree.values, _base(folder or FilePath(path).parent, written.get("folder")))
    if not source.folder.is_dir() and isinstance(written.get("folder"), str):
        problems.append(source.problem(Finding(("folder",), f"no such folder: {source.folder}", NO_FOLDER)))
    checked = check_study_dict(written, source)
    return replace(checked, problems=(*checked.problems, *problems))


def _base(folder: FilePath, named: Any) -> FilePath:
    """What paths in a spec are relative to: its ``folder``, or what it names instead. Symbolic links are
    followed, as ``..`` is taken off names later."""
    return (folder / named).resolve() if isinstance(named, str) else folder


def study_from_dict(raw: Mapping[str, Any]) -> Study:
    """Make a study from plain values, as in ``results/<study>/study.yaml`` or in a script.

    Raises:
        UserError: every problem, with paths of field names.
    """
    return check_study_dict(raw, Source(folder=_base(FilePath(), raw.get("folder")))).clean()


def check_study_dict(raw: Mapping[str, Any], source: Source) -> Checked:
    """Check plain values whose places ``source`` knows."""
    raw, source, twice = _by_present_names(raw, source)
    checked = check_draft(Draft(raw, source))
    return replace(checked, problems=tuple(source.in_order([*checked.problems, *source.problems(twice)])))


def check_draft(draft: Draft) -> Checked:
    """Check what is left of a spec, and take out what is wrong with that until nothing is."""
    findings, here = list[Finding](), draft
    study, wrong = _validate(here.raw)
    while wrong:
        said = here.said(wrong)
        findings += [finding for finding in said if finding not in findings]
        rest = here.without(wrong) if len(wrong) <= MOST_FINDINGS else None
        if rest is None:
            break
        here = rest
        study, wrong = _validate(here.raw)
    else:
        assert study is not None, "else something is wrong"
        study._source = draft.source  # pyright: ignore[reportPrivateUsage]
        return Checked(study, tuple(here.source.problems(findings)), here)
    return Checked(None, tuple(here.source.problems(findings)), here)


def _by_present_names(
    raw: Mapping[str, Any], source: Source
) -> tuple[Mapping[str, Any], Source, list[Finding]]:
    """Move what is written by its earlier name, and find what is written by both."""
    moved, twice = list[tuple[Path, Path]](), list[Finding]()
    copy = dict(raw)
    for (section, name), (new_section, new_name) in EARLIER_NAMES.items():
        old, new = copy.get(section), copy.get(new_section, {})
        if not isinstance(old, dict) or name not in old or not isinstance(new, dict):
            continue
        old, new = dict(cast(dict[str, Any], old)), dict(cast(dict[str, Any], new))
        value = old.pop(name)
        if new_name in new:
            message = f"is the earlier name of {new_section}.{new_name}, which is given too"
            twice.append(Finding((section, name), message, "remove one of them", at_key=True))
        else:
            moved.append(((section, name), (new_section, new_name)))
            new[new_name] = value
        copy |= {section: old, new_section: new}
    return copy, source.renamed(moved), twice


def _validate(raw: Mapping[str, Any]) -> tuple[Study | None, list[Finding]]:
    try:
        study = Study.model_validate(raw)
    except ValidationError as error:
        if error.error_count() > MOST_FINDINGS:
            message = f"{error.error_count()} mistakes; the first {MOST_FINDINGS} are listed"
            return None, [*explain(error, Study, MOST_FINDINGS), Finding((), message, "is this a spec?")]
        findings, valid = _for_one_trainer(raw, explain(error, Study)), _valid_sections(raw)
        return None, findings + check_sections(valid) + variation_findings(valid)
    return study, check_sections(dict(study)) + variation_findings(dict(study))


def _for_one_trainer(raw: Mapping[str, Any], findings: list[Finding]) -> list[Finding]:
    """Put one finding for all that is wrong with a part that is written for another trainer."""
    for foreign in written_for_built_in(raw):
        others = [f for f in findings if f.path[: len(foreign.path)] != foreign.path]
        findings = [*others, foreign] if len(others) < len(findings) else findings
    return findings


def _valid_sections(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections that are valid by themselves."""
    valid = dict[str, Any]()
    for name, info in Study.model_fields.items():
        if name in raw:
            try:
                section: Any = create_model("Section", value=(cast(Any, info.annotation), info))
                valid[name] = section(value=raw[name]).value
            except ValidationError:
                continue  # explained with the whole study
    return valid


def _read(path: FilePath, noun: str) -> str:
    name = str(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except FileNotFoundError:
        near = closest(path.stem, sorted(p.stem for p in path.parent.glob("*.yaml")))
        hint = (
            f"did you mean '{path.with_name(f'{near}.yaml')}'?"
            if near
            else f"give the path of {noun} (*.yaml)"
        )
        raise UserError(Complaint("no such file", name, hint)) from None
    except IsADirectoryError:
        raise UserError(Complaint("is a directory", name, f"give the path of {noun} (*.yaml)")) from None
    except (OSError, ValueError) as error:
        raise UserError(Complaint(f"cannot be read: {error}", shorten(name))) from None
    if len(content) > LARGEST_BYTES:
        raise UserError(Complaint(f"is larger than {LARGEST_BYTES} bytes", name, f"is this {noun}?"))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        message = f"is not UTF-8 text: byte 0x{content[error.start]:02x}"
        raise UserError(Complaint(message, f"{name}:{line}:{column}", "save the file as UTF-8")) from None
