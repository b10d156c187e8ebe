"""What goes together: all of a spec is of the built-in trainer, or all of it of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from scaling.corpora.external import External
from scaling.corpora.kinds import CORPORA
from scaling.recipe.quantities import Described
from scaling.spec.designs.design import AnyDesign
from scaling.spec.external import ExternalFamily, ExternalRecipe, unstated
from scaling.spec.source import Finding, Path, dotted_path

TRAINER = "trainer: {kind: command, version: 1, argv: [python, train.py, --run, '{run}', --out, '{out}']}"
PARTS: tuple[tuple[Path, type[Described], str], ...] = (
    (("data", "corpus"), External, "corpus: {kind: external, tokens: 1e9}"),
    (
        ("family",),
        ExternalFamily,
        "family: {kind: external, sizes: [{name: small, params: 1e6, flops_per_token: 6e6}]}",
    ),
    (("recipe",), ExternalRecipe, "recipe: {kind: external, batch_tokens: 65536, learning_rate: 0.001}"),
)
# Kinds of these parts that a spec can name, the usual one first.
BUILT_IN: dict[str, tuple[str, ...]] = {
    "corpus": ("shipped", *(kind for kind in CORPORA if kind != "external")),
    "family": ("width-dial", "depth-dial", "width-depth", "shapes"),
    "recipe": ("built-in",),
}
# Fields of a section that say nothing to a trainer of one's own, and why.
FOREIGN: dict[str, tuple[str, tuple[str, ...]]] = {
    "data": ("the trainer cuts its own tokens", ("tokenizer", "separator", "unique_tokens")),
    "evaluation": (
        "the trainer evaluates by itself",
        ("documents", "tokens", "split", "share", "sets", "target", "overlap", "averages"),
    ),
    "execution": (
        "the trainer lays its work out by itself",
        ("mesh", "micro_batch", "remat", "pack", "hosts", "launcher", "chunk_steps"),
    ),
}


def trainer_findings(sections: Mapping[str, Any]) -> Iterator[Finding]:
    """Find parts that are not of one trainer, and what does not apply to one's own. ``sections`` are those
    that are valid, each left out as its default."""
    parts = {path: (part, kind, text) for path, kind, text in PARTS if (part := _at(sections, path))}
    external = [path for path, (part, kind, _) in parts.items() if isinstance(part, kind)]
    trainer, known = sections.get("trainer"), "trainer" in sections
    if trainer is not None:
        yield from trainer.findings()
    if trainer is None and not external:
        return
    if trainer is None and known and len(external) == 1 and len(parts) > 1:
        message = "is for a trainer of one's own, and there is none"
        yield Finding((*external[0], "kind"), message, f"add '{TRAINER}', or use another kind")
        return
    if trainer is None and known:
        yield Finding(("trainer",), "required with kind: external, but not given", f"add '{TRAINER}'")
    for path, (part, kind, text) in parts.items():
        if not isinstance(part, kind):
            named = "trainer is a command" if trainer else f"{dotted_path(external[0])} is external"
            message = f"is one of the built-in trainer, and {named}"
            yield Finding((*path, "kind"), message, f"write '{text}'")
    yield from _foreign(sections)
    yield from _own(sections)


def written_for_built_in(raw: Mapping[str, Any]) -> Iterator[Finding]:
    """Find parts of the plain values of a spec with a trainer of one's own that are written for the built-in
    one: what else is wrong with them does not matter."""
    if raw.get("trainer") is None:
        return
    for path, _, text in PARTS:
        node: Any = raw
        for name in path:
            node = cast(dict[str, Any], node).get(str(name)) if isinstance(node, dict) else None
        kinds = BUILT_IN[str(path[-1])]
        if isinstance(node, dict) and cast(dict[str, Any], node).get("kind", kinds[0]) in kinds:
            message = "is written for the built-in trainer, and trainer is a command"
            written = "kind" in node or path != ("recipe",)
            yield Finding(path, message, f"write '{text}'" if written else "add 'kind: external'")


def _at(sections: Mapping[str, Any], path: Path) -> Any:
    part: Any = sections.get(str(path[0]))
    for name in path[1:]:
        part = getattr(part, str(name), None)
    return part


def _foreign(sections: Mapping[str, Any]) -> Iterator[Finding]:
    """Find fields that were given and do not apply."""
    for name, (why, fields) in FOREIGN.items():
        section = sections.get(name)
        for field in _given(section, fields) if isinstance(section, Described) else ():
            yield Finding((name, field), f"does not apply: {why}", "leave it out", at_key=True)


def _given(section: Described, fields: Sequence[str]) -> Iterator[str]:
    """Yield those of the fields that are not left as they are."""
    for field in fields:
        if getattr(section, field) != type(section).model_fields[field].default:
            yield field


def _own(sections: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what is wrong with the recipe, and with sizes that do not state what is asked of them."""
    recipe, family, design = sections.get("recipe"), sections.get("family"), sections.get("design")
    sizes = family.stated if isinstance(family, ExternalFamily) else ()
    if isinstance(recipe, ExternalRecipe):
        yield from recipe.findings()
        yield from recipe.size_findings(sizes)
    field = design.body_field if isinstance(design, AnyDesign) else None
    if field is not None and (of := unstated("params_body", sizes)):
        message, hint = of
        yield Finding(field, message, hint)
