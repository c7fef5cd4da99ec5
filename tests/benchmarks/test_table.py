"""The tables, and what is said about how far to trust them."""

from dataclasses import replace

from tests.benchmarks.readings import Machine, Reading, Results
from tests.benchmarks.table import compare, digits, notes, table

MACHINE = Machine(cores=2, python="3.11.7", kernel="6.1", processor="one", load=0.1, time="now")

BUSY_CLIENT = ", TOO MUCH: it may be what was measured"


def readings(program: str, *turns: tuple[float, float], row: str = "a row") -> list[Reading]:
    return [
        Reading(group="answers", row=row, program=program, values={"ms": ms, "CPU": cpu})
        for ms, cpu in turns
    ]


def results(*each: list[Reading]) -> Results:
    return Results(machine=MACHINE, readings=[reading for some in each for reading in some])


def test_a_row_has_the_medians_and_their_ratios() -> None:
    run = results(
        readings("here", (1.0, 5.0), (2.0, 5.0), (9.0, 6.0)),
        readings("go", (20.0, 2.5), (10.0, 2.5), (40.0, 2.0)),
    )
    # All of ours are below all of the peer's in the first, above in the second.
    assert list(table(run)) == [
        "|  | here | go | here : go |",
        "|---|---|---|---|",
        "| **answers**: ms / CPU |  |  |  |",
        "| a row | 2 / 5 | 20 / 2.5 | 0.1 / 2 |",
    ]


def test_a_ratio_that_may_be_chance_is_in_brackets() -> None:
    run = results(readings("here", (1.0, 5.0), (3.0, 5.0)), readings("go", (2.0, 5.0), (6.0, 0.0)))
    assert list(table(run))[-1] == "| a row | 2 / 5 | 4 / 2.5 | (0.5) / (2) |"


def test_there_is_no_ratio_to_nothing_and_none_to_the_floor() -> None:
    run = results(
        readings("here", (1.0, 5.0)),
        readings("go", (1.0, 0.0)),
        readings("floor", (0.1, 0.1)),
        readings("here", (7.0, 8.0), row="another"),
    )
    assert next(table(run)) == "|  | here | go | floor | here : go |"
    assert list(table(run))[-2:] == [
        "| a row | 1 / 5 | 1 / 0 | 0.1 / 0.1 | (1) / - |",
        "| another | 7 / 8 |  |  |  |",
    ]


def test_two_runs_are_compared_where_both_have_something() -> None:
    before = results(
        readings("here", (4.0, 1.0)), readings("go", (1.0, 1.0)), readings("here", (1, 1), row="b")
    )
    after = results(readings("here", (2.0, 1.0)), readings("here", (1.0, 1.0), row="new"))
    assert list(compare(before, after)) == [
        "|  | program | before | after | after : before |",
        "|---|---|---|---|---|",
        "| **answers**: ms / CPU |  |  |  |  |",
        "| a row | here | 4 / 1 | 2 / 1 | 0.5 / (1) |",
    ]


def test_a_busy_client_and_wrong_answers_are_told() -> None:
    [reading] = readings("go", (1.0, 1.0))
    busy = replace(reading, checks={"client's cores": 0.75, "driver's cores": 0.6})
    wrong = replace(reading, checks={"client's cores": 0.1, "wrong answers": 3})
    of_floor = replace(reading, program="floor", checks={"client's cores": 0.99})
    assert list(notes(results([busy, wrong, of_floor])))[1:] == [
        f"the client took 0.75 of a core at most, with go, a row{BUSY_CLIENT}",
        "the driver took 0.60 of a core at most, with go, a row",
        "WRONG: 3 answers of go, a row",
    ]


def test_nothing_is_said_where_all_is_well() -> None:
    assert list(notes(results(readings("here", (1.0, 1.0))))) == [str(MACHINE)]


def test_numbers_have_three_digits() -> None:
    values = [0.0, 0.000_123_4, 0.001_234, 0.5, 1.0, 12.345, 99.96, 1234.5, 12345.6]
    texts = ["0", "0.00012", "0.00123", "0.5", "1", "12.3", "100", "1,234", "12,346"]
    assert [digits(value) for value in values] == texts
