"""Which printed rows were ended on purpose."""

from __future__ import annotations

from tests.unit.test_layout_order import EM, LEFT, line
from workers.layout.rows import Row, breaks_of, right_edge, row_of

FULL = "A row of running text that is full to its edge,"  # 47 letters, 470 pixels wide


def rows(*texts: str, x: float = 100, pitch: float = 30) -> list[Row]:
    return [row_of([line(x, 100 + at * pitch, text)]) for at, text in enumerate(texts)]


def centred(*texts: str) -> list[Row]:
    return [row_of([line(400 - len(text) * EM / 4, 100 + 30 * at, text)]) for at, text in enumerate(texts)]


def test_full_rows_run_on_and_a_short_last_one_ends_nothing() -> None:
    assert breaks_of(rows(FULL, FULL, FULL, "and its end."), 570) == [False, False, False]


def test_a_row_that_ends_far_from_the_edge_was_ended_on_purpose() -> None:
    text = rows(FULL, "Short.", FULL, FULL, FULL, "end.")
    assert breaks_of(text, 570) == [False, True, False, False, False]


def test_rows_that_all_end_where_the_next_word_had_room_are_entries() -> None:
    assert breaks_of(rows("Jane Miller", "12 Long Street", "10115 Berlin"), 570) == [True, True]


def test_two_rows_are_judged_by_the_edge_of_the_text_around() -> None:
    two = rows("Half a row of running text", "that was broken here.")
    assert breaks_of(two, 370) == [False]
    assert breaks_of(two, 900) == [True]


def test_a_long_next_word_explains_a_short_row() -> None:
    text = rows(
        FULL, "A row of running text whose next one", "incomprehensibilities and more of it, to the edge", FULL, FULL
    )
    assert breaks_of(text, 590)[1] is False


def test_centred_rows_are_ended_on_purpose() -> None:
    assert breaks_of(centred("A title page", "of an old and long book", "by somebody"), 900) == [True, True]


def test_names_in_a_narrow_column_are_entries_and_sentences_are_not() -> None:
    assert breaks_of(rows("Set up now", "Start here", "Run it all"), 200) == [True, True]
    assert breaks_of(rows("A narrow bit", "of a column", "is no list."), 220) == [False, False]


def test_short_rows_set_far_apart_are_entries() -> None:
    assert breaks_of(rows("Getting going", "Running it now", pitch=60), 240) == [True]


def test_a_label_with_its_amount_ends_its_row() -> None:
    parted = row_of([line(100, 130, "Sum"), line(500, 130, "1234.50")])
    assert parted.parted
    assert breaks_of([*rows(FULL), parted], 570) == [True]


def test_a_row_has_the_type_of_most_of_its_letters() -> None:
    row = row_of([line(100, 100, "A1", em=40), line(200, 100, "and a long rest")])
    assert (row.em, row.text) == (EM, "A1 and a long rest")


def test_larger_type_has_no_say_in_where_the_text_ends() -> None:
    heading = [line(100, 40, FULL, em=2 * EM)]
    assert right_edge([[row_of(heading)], rows(FULL, *LEFT)], 1.2 * EM) == 570
