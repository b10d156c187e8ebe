"""What is left of a spec when what is wrong is taken out of it: checked, and planned, as it stands.

So the mistakes of later stages are said with those of earlier ones. What would follow from what was taken out
is not said: a draft knows which fields it no longer speaks for.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, cast

from scaling.spec.source import Finding, Path, Source

CELLS = ("added", "noise", "holdout")
OF_CELLS: tuple[Path, ...] = tuple((name,) for name in CELLS)
# Sections that are left out where something in them is wrong, and the fields that are checked against them.
LEFT_OUT: dict[str, tuple[Path, ...]] = {
    **{name: () for name in (*CELLS, "execution", "folder")},
    "evaluation": (("data", "unique_tokens"), ("data", "context")),
    "axes": OF_CELLS,
    "variants": OF_CELLS,
}
# Fields that no other field of the spec is checked against where they are left out.
INDEPENDENT: set[Path] = {
    *(("recipe", name) for name in ("precision", "parametrization", "auxiliary", "init_from")),
    *(("family", name) for name in ("tied", "qk_norm", "attention_softcap", "logit_softcap", "positions")),
    *(("family", name) for name in ("document_mask", "parallel", "scaled_embedding")),
    *(("family", name) for name in ("min_aspect", "max_aspect")),
    *(("design", name) for name in ("width", "goal", "batch", "runs", "noise")),
    ("data", "unique_tokens"),
}
# Parts that no length and no size follows from, and others in their place; their optional fields are left out
# one by one.
STAND_INS: dict[Path, Any] = {
    ("recipe", "optimizer", "learning_rate"): 0.001,
    ("recipe", "optimizer"): {"kind": "adamw", "learning_rate": 0.001},
    ("recipe", "schedule"): {"kind": "constant"},
    ("data", "corpus"): "state-of-the-union",
}
NO_CELLS = {"kind": "grid", "steps": [1]}  # a design that is left aside
WHOLE: dict[str, Any] = {"study": "study", "design": NO_CELLS}  # in place of whole sections
CONTEXT = 64
# Where neither sizes nor lengths are known, data alone are looked at.
BARE: dict[Path, Any] = {
    ("design",): NO_CELLS,
    ("family",): {"kind": "width-dial", "depth": 1, "widths": [2], "head_dim": 2},
    ("recipe",): {
        "optimizer": STAND_INS["recipe", "optimizer"],
        "schedule": STAND_INS["recipe", "schedule"],
        "batch_tokens": CONTEXT,
    },
    ("data", "context"): CONTEXT,
}


@dataclass(frozen=True)
class Draft:
    """The plain values of a spec, of which some are taken out.

    Attributes:
        base: the values, with misspelt names and choices corrected.
        source: where they were written.
        gone: what is left out, by its path in ``base``.
        instead: what stands in for other values.
        doubtful: the paths that it does not speak for: what is found there is not said.
    """

    base: Mapping[str, Any]
    source: Source
    gone: frozenset[Path] = frozenset()
    instead: Mapping[Path, Any] = field(default_factory=dict[Path, Any])
    doubtful: frozenset[Path] = frozenset()

    @property
    def raw(self) -> dict[str, Any]:
        """The values that are left."""
        raw = self._left(dict(self.base), ())
        for place, value in self.instead.items():
            node = raw
            for part in place[:-1]:
                node = node[part]
            node[str(place[-1])] = deepcopy(value)
        return raw

    @property
    def designed(self) -> bool:
        """Whether its design is the one that was written."""
        return ("design",) not in self.instead

    def _left(self, node: Any, path: Path) -> Any:
        match node:
            case dict():
                fields = cast(dict[str, Any], node)
                there = ((name, (*path, name)) for name in fields)
                return {name: self._left(fields[name], at) for name, at in there if at not in self.gone}
            case list():
                items = enumerate(cast(list[Any], node))
                return [self._left(item, (*path, i)) for i, item in items if (*path, i) not in self.gone]
            case _:
                return node

    def written(self, path: Path) -> Path:
        """Return where a field of what is left stands in the spec: there, lists may be longer."""
        found: Path = ()
        for part in path:
            if isinstance(part, int):
                rest = (i for i in itertools.count() if (*found, i) not in self.gone)
                part = next(itertools.islice(rest, part, None))
            found = (*found, part)
        return found

    def said(self, findings: Iterable[Finding]) -> list[Finding]:
        """Return what holds of the spec of all that was found in what is left, by the paths of the spec."""
        fewer = any(isinstance(path[-1], int) for path in self.gone)
        placed = [replace(finding, path=self.written(finding.path)) for finding in findings]
        return [
            finding
            for finding in placed
            if not (fewer and finding.by_lack) and not any(_meet(finding.path, d) for d in self.doubtful)
        ]

    def without(self, findings: Sequence[Finding]) -> Draft | None:
        """Take out what is wrong: misspelt names first, as they hide what is below them; sizes and lengths
        last, as nothing of a plan is left without them. None: nothing is left to be looked at."""
        ordered = sorted(findings, key=lambda one: (not one.at_key, -len(one.path)))
        for change in (Draft._renamed, Draft._trimmed, Draft._without_section, Draft._bare):
            draft = self
            for finding in ordered:
                path = self.written(finding.path)
                if not draft._has_lost(path):
                    draft = change(draft, path, finding) or draft
            if draft != self:
                return draft
        return None

    def _has_lost(self, path: Path) -> bool:
        """Whether a value is taken out already, or what holds it."""
        return any(path[:k] in self.gone or path[:k] in self.instead for k in range(1, len(path)))

    def _renamed(self, path: Path, finding: Finding) -> Draft | None:
        """Correct a misspelt name or choice, or leave out a name that is unknown; None: it is neither."""
        if not path or not (finding.at_key or finding.meant):
            return None
        *parents, last = path
        base = deepcopy(dict(self.base))
        node: Any = base
        for part in parents:
            node = node[part] if _holds(node, part) else None
        if not _holds(node, last):
            return None
        if not finding.at_key:
            node[last] = finding.meant
            return replace(self, base=base)
        value, meant = node.pop(last), finding.meant
        if meant is None or meant in node:
            return replace(self, base=base, doubtful=self.doubtful | {path})
        node[meant] = value
        return replace(self, base=base, source=self.source.renamed([(path, (*parents, meant))]))

    def _trimmed(self, path: Path, _: Finding) -> Draft | None:
        """Take out the least that holds a path and can be missed; None: its section cannot do without."""
        for k in range(len(path), 1, -1):
            place = path[:k]
            if place in self.gone or place in self.instead:
                continue
            if k == len(path) and (again := self._repeated(place)):
                return replace(self, gone=self.gone | again)
            if isinstance(place[-1], int):
                if self._number(place[:-1]) > 1:
                    return replace(self, gone=self.gone | {place})
            elif place in STAND_INS and self._can_stand_in(place):
                return self._replaced({place: STAND_INS[place]}, (place,))
            elif place in INDEPENDENT or self._is_optional(place):
                return self._left_out(place)
            elif k == 2 and place[0] == "variants" and self._number(place[:1]) > 1:
                return self._left_out(place, *OF_CELLS)
        return None

    def _is_optional(self, place: Path) -> bool:
        """Whether a field may be left out of a part that nothing else follows from."""
        if len(place) == 2:
            return place[0] == "execution" and place[1] != "kind"
        return len(place) == 3 and place[:2] in STAND_INS and self._is_mapping(place[:2])

    def _without_section(self, path: Path, _: Finding) -> Draft | None:
        """Leave out a section, or put another in its place; None: nothing can stand for it."""
        name = str(path[0]) if path else ""
        if (name,) in self.gone or (name,) in self.instead:
            return None
        if name in LEFT_OUT:
            return self._left_out((name,), *LEFT_OUT[name])
        if name == "seeds":
            return self._replaced({("seeds",): [self._unused_seed()]}, (("seeds",),))
        return self._replaced({(name,): WHOLE[name]}, ((name,),)) if name in WHOLE else None

    def _bare(self, path: Path, _: Finding) -> Draft | None:
        """Leave all out but data and evaluation, and what is assumed of a law; None: they are wrong
        themselves, or of another trainer."""
        data, design = self.base.get("data"), self._at(("design",))
        if self.base.get("trainer") is not None or not isinstance(data, dict) or not self._is_sized:
            return None
        doubtful: set[Path] = {(name,) for name in self.base if name not in ("data", "evaluation")}
        instead = {p: v for p, v in BARE.items() if p != ("data", "context") or path[:1] == ("data",)}
        if self.designed and isinstance(design, dict) and "prior" in design:
            del instead["design",]
            others = {("design", name) for name in cast(dict[str, Any], design) if name != "prior"}
            doubtful = (doubtful - {("design",)}) | others
        bare = self._replaced(instead, (*doubtful, ("data", "context")))
        left_out = {(name,) for name in (*CELLS, "axes", "variants", "execution")}
        return replace(bare, gone=bare.gone | left_out)

    @property
    def _is_sized(self) -> bool:
        """Whether its family is the one that was written."""
        return ("family",) not in self.instead

    def _left_out(self, place: Path, *doubtful: Path) -> Draft:
        return replace(self, gone=self.gone | {place}, doubtful=self.doubtful | {place, *doubtful})

    def _replaced(self, instead: Mapping[Path, Any], doubtful: Iterable[Path]) -> Draft:
        kept = {p: v for p, v in self.instead.items() if not any(p[: len(new)] == new for new in instead)}
        return replace(self, instead={**kept, **instead}, doubtful=self.doubtful | {*doubtful})

    def _at(self, place: Path) -> Any:
        node: Any = self.base
        for part in place:
            node = node[part] if _holds(node, part) else None
        return node

    def _is_mapping(self, place: Path) -> bool:
        return isinstance(self._at(place), dict)

    def _number(self, place: Path) -> int:
        """How many items of a list, or names of a mapping, are left."""
        node = self._at(place)
        names: Any = range(len(cast(list[Any], node))) if isinstance(node, list) else node or ()
        return sum((*place, name) not in self.gone for name in names)

    def _repeated(self, place: Path) -> set[Path]:
        """The items of a list that are left and equal to earlier ones."""
        node, seen, again = self._at(place), list[Any](), set[Path]()
        for i, item in enumerate(cast(list[Any], node) if isinstance(node, list) else ()):
            if (*place, i) not in self.gone:
                again |= {(*place, i)} if item in seen else set()
                seen.append(item)
        return again

    def _can_stand_in(self, place: Path) -> bool:
        """Whether no length would change: a corpus may bring a vocabulary of its own."""
        if not self._is_mapping(place[:-1]) or self.base.get("trainer") is not None:
            return False
        return place != ("data", "corpus") or self._at(("data", "tokenizer")) == "bytes"

    def _unused_seed(self) -> int:
        """A seed that no other cell of the spec has."""
        used = {*_numbers(self.base.get("noise")), *_numbers(self.base.get("added"))}
        return next(seed for seed in itertools.count() if seed not in used)


def _meet(path: Path, other: Path) -> bool:
    """Whether one of two fields holds the other."""
    shorter = min(len(path), len(other))
    return path[:shorter] == other[:shorter]


def _holds(node: Any, part: str | int) -> bool:
    match node:
        case dict():
            return part in node
        case list():
            return isinstance(part, int) and part < len(cast(list[Any], node))
        case _:
            return False


def _numbers(node: Any) -> Iterable[Any]:
    """Yield all numbers below a node."""
    match node:
        case dict():
            for value in cast(dict[str, Any], node).values():
                yield from _numbers(value)
        case list():
            for value in cast(list[Any], node):
                yield from _numbers(value)
        case int() | float():
            yield node
        case _:
            return
