"""The codec of results: what is written is read back as it was, old files too."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, Fit, fit
from analysis.codec import Result, plain, read
from analysis.results import FitSetup, Interval, Noise, Part, Verdict


@dataclass(frozen=True)
class Kept(Result):
    """A result with everything that the codec knows."""

    verdicts: dict[str, Verdict]
    ends: tuple[Interval, ...]
    frame: pd.DataFrame
    noise: Noise | None

    SCHEMA: ClassVar = 3
    WHAT: ClassVar = "kept"
    AGAIN: ClassVar = "keep it again"


def test_what_is_written_is_read_back():
    frame = pd.DataFrame({"x": [1.0, np.nan, np.inf], "name": ["a", "b", "inf"], "n": [1, 2, 3]})
    kept = Kept({"a": Verdict("one_sided", "wide", {"upper": 2.0})}, (Interval(0.0, np.inf),), frame, None)
    again = Kept.from_json(kept.to_json())
    assert (again.verdicts, again.ends, again.noise) == (kept.verdicts, kept.ends, None)
    pd.testing.assert_frame_equal(again.frame, frame)
    assert (
        json.loads(kept.to_json())["frame"]["x"] == [1.0, None, "inf"] and again.to_json() == kept.to_json()
    )


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 2}', '{"schema": 3}'])
def test_other_texts_are_refused(text):
    with pytest.raises(AnalysisError, match="kept: "):
        Kept.from_json(text)


def test_a_part_is_read_by_the_names_of_its_json():
    verdict = Verdict("yes", "narrow")
    assert isinstance(verdict, Part) and verdict["reason"] == "narrow" and "bound" not in plain(verdict)
    with pytest.raises(KeyError):
        verdict["value"]


def test_noise_is_called_by_what_it_is():
    log, raw = Noise(0.01, 0.02, 3), Noise(0.01, 0.02, 3, space="raw")
    assert plain(log)["sd_log"] == 0.01 and plain(raw)["sd"] == 0.01 and "sd_log" not in plain(raw)
    assert read(Noise, plain(log)) == log and read(Noise, plain(raw)) == raw


def test_fits_written_before_are_read(study):
    """Without the space in ``noise``."""
    found = fit("chinchilla", study, bootstrap=30, objective="raw-ls")
    data = json.loads(found.to_json())
    data["noise"].pop("space")
    assert not {"lowest_rate", "highest_rate", "updates"} & set(data["setup"])  # of curve laws alone
    assert Fit.from_json(json.dumps(data)) == found
    data["setup"]["space"] = "raw"
    data["noise"] = {
        "sd_log": 0.1,
        "robust_sd_log": 0.2,
        "degrees": 3,
        "seeds": None,
        "clusters_alike_p": None,
    }
    assert Fit.from_json(json.dumps(data)).noise == Noise(0.1, 0.2, 3, space="raw")
    assert np.isnan(Fit.from_json(json.dumps(data | {"noise": {}})).noise.sd)
    assert read(FitSetup, plain(found.setup)) == found.setup
