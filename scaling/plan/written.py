"""The text of study.yaml."""

from __future__ import annotations

import io
from typing import Any

from ruamel.yaml import YAML

from scaling.plan.tuned import with_hashes
from scaling.spec.models import Study


def study_text(study: Study) -> str:
    """Return a spec with every default filled in, which plans the same runs."""
    text = io.StringIO()
    if study.trainer is not None:  # the text is read elsewhere
        trainer = study.trainer.model_copy(update={"folder": str(study.commands_folder)})
        study = study.model_copy(update={"trainer": trainer})
    spec = study.model_dump(mode="json", exclude_none=True)
    dumper: Any = YAML()
    dumper.dump(with_hashes(spec, study.source.folder), text)
    return text.getvalue()
