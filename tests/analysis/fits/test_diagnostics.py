import numpy as np

from analysis import fit
from benchmarks.wild_tables import clean


def notes_of_far_rows(table):
    return [note for note in fit("chinchilla", table, bootstrap=0).notes if "from the law" in note]


def test_a_slip_in_a_cell_is_named_by_its_row():
    table = clean()
    assert notes_of_far_rows(table) == []
    table.loc[11, "tokens"] *= 1000
    (note,) = notes_of_far_rows(table)
    assert "row 11 (log residual +" in note and note.count("row ") == 1


def test_many_rows_far_off_are_no_slips():
    table = clean()
    table["loss"] *= np.where(np.arange(len(table)) % 4 == 0, 1.2, 1.0)
    assert notes_of_far_rows(table) == []
