"""CSV and TSV as people have them: what was written is read, and what was decided is said."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from pollice.data.formats.columns import Columns, TextOptions
from pollice.data.tables import read_columns
from pollice.errors import DataError

PLAIN = TextOptions()
ROWS = {"text": ["warm soup", "cold soup"], "label": ["pos", "neg"]}


def read(path: Path, content: str, options: TextOptions = PLAIN) -> Columns:
    path.write_bytes(content.encode("utf-8"))

    def choose(names: Sequence[str]) -> Sequence[str]:
        if not {"text", "label"} <= set(names):
            raise DataError(f"No text or label among {', '.join(names)}.")
        return ["text", "label"]

    return read_columns(path, choose, options)


def fails(path: Path, content: str, sentence: str, options: TextOptions = PLAIN) -> None:
    with pytest.raises(DataError) as raised:
        read(path, content, options)
    assert str(raised.value) == sentence.format(path=path)


SEMICOLONS = "{name}: cells are parted by semicolons."
LEFT_OUT = "{name}: 2 lines below the first left out, which a survey tool wrote as further headers."
IMPORT = '"{""ImportId"":""QID1"",""timeZone"":""Z""}"'


@pytest.mark.parametrize(
    ("name", "content", "notes"),
    [
        ("a.csv", "text,label\nwarm soup,pos\ncold soup,neg\n", []),
        ("a.csv", "sep=;\r\ntext;label\r\nwarm soup;pos\r\ncold soup;neg\r\n", [SEMICOLONS]),
        ("a.tsv", '"sep=,"\ntext,label\nwarm soup,pos\ncold soup,neg', ["commas"]),
        ("a.csv", "sep=~\ntext~label\nwarm soup~pos\ncold soup~neg\n", ["'~'"]),
        ("a.csv", "text;label;Good, or not\nwarm soup;pos;a\ncold soup;neg;b\n", [SEMICOLONS]),
        ("a.csv", "text,label,a;b;c|d\nwarm soup,pos,1\ncold soup,neg,2\n", []),
        ("a.csv", "text|label\nwarm soup|pos\ncold soup|neg\n", ["bars"]),
        ("a.csv", "text\tlabel\nwarm soup\tpos\ncold soup\tneg\n", ["tabs"]),
        ("a.csv", "text,label\rwarm soup,pos\rcold soup,neg\r", []),
        ("a.csv", "text,label\r\r\nwarm soup,pos\r\r\ncold soup,neg\r\r\n", []),
        ("a.csv", "\n\ntext,label\nwarm soup,pos\ncold soup,neg\n\n\n", []),
        ("a.csv", "text,label,\nwarm soup,pos,,,\ncold soup,neg,\n", []),
        ("a.csv", 'text, label\n"warm soup", "pos"\n"cold soup", "neg"\n', []),
        (
            "a.csv",
            "text,label,,\nwarm soup,pos,,\ncold soup,neg,,\n,,,\n , ,,\n,,,\n",
            ["{name}: 3 empty rows at the end left out."],
        ),
        (
            "a.csv",
            "text,label,note\nwarm soup,pos,x\n\n  \ncold soup,neg\n",
            [
                "{name}: 1 row had fewer cells than the header, first on line 5; what was missing "
                "is taken as empty.",
                "{name}: 2 blank lines left out.",
            ],
        ),
        (
            "a.csv",
            "text,label\nwarm soup,pos\ntext,label\ncold soup,neg\n",
            ["{name}: 1 further line with the names of the columns left out."],
        ),
        (
            "a.csv",
            f'text,label\nWhat is it like?,"Good, or not?"\n{IMPORT},{IMPORT}\n'
            "warm soup,pos\ncold soup,neg\n",
            [LEFT_OUT],
        ),
        (
            "a.csv",
            "text,label\nOpen-Ended Response,Response\nwarm soup,pos\ncold soup,neg\n",
            [LEFT_OUT.replace("2 lines", "1 line")],
        ),
    ],
)
def test_the_same_rows_in_every_dialect(
    tmp_path: Path, name: str, content: str, notes: list[str]
) -> None:
    columns = read(tmp_path / name, content)
    assert columns.values == ROWS
    said = [note.format(name=name) if "{name}" in note else note for note in notes]
    whole = [f"{name}: cells are parted by {note}." if ":" not in note else note for note in said]
    assert list(columns.notes) == whole


BARE = "a.tsv: quotes enclose no texts here, but belong to them."


def test_quotes_of_a_tsv_file_belong_to_its_texts(tmp_path: Path) -> None:
    """Five rows stay five: a quote that begins a text takes in no rows until the next quote."""
    content = (
        'text\tlabel\n"warm soup\tpos\ncold soup\tneg\nstale "bread"\tneg\nso good"\tpos\n'
        "bad\tneg\n"
    )
    columns = read(tmp_path / "a.tsv", content)
    assert columns.values == {
        "text": ['"warm soup', "cold soup", 'stale "bread"', 'so good"', "bad"],
        "label": ["pos", "neg", "neg", "pos", "neg"],
    }
    assert list(columns.notes) == [BARE]
    assert list(columns.numbers) == [2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "rows",
    [
        ['"warm', "cold", '"'],  # the quotes close again: without a look at the lines, one row
        ['"warm" soup', "cold", "c"],
        ["a", "b", '"never closed'],
        ['"In" and "out"', '"whole"', "c", "d"],
    ],
)
@pytest.mark.parametrize("note", ["", "\tx"])
def test_no_row_of_a_tsv_file_is_taken_in(tmp_path: Path, rows: list[str], note: str) -> None:
    """Also where a last cell is missing, so that the lines are not all of one size."""
    lines = [f"{text}\tpos{note if number else ''}" for number, text in enumerate(rows)]
    header = "text\tlabel\tnote" if note else "text\tlabel"
    columns = read(tmp_path / "a.tsv", "\n".join([header, *lines]) + "\n")
    assert columns.values == {"text": rows, "label": ["pos"] * len(rows)}


def test_quotes_of_a_tsv_file_enclose_where_they_do(tmp_path: Path) -> None:
    content = 'label\ttext\npos\t"warm\nsoup"\nneg\t"so ""cold"""\npos\t"tab\there\nand"\n'
    columns = read(tmp_path / "a.tsv", content)
    assert columns.values["text"] == ["warm\nsoup", 'so "cold"', "tab\there\nand"]
    assert columns.notes == ()


def test_texts_of_several_lines_with_separators(tmp_path: Path) -> None:
    """Each line has as many commas as a row, but none looks like another row."""
    content = 'label,text\npos,"warm\nsoup, really"\nneg,"cold\nsoup, really"\n'
    assert read(tmp_path / "a.csv", content).values == {
        "text": ["warm\nsoup, really", "cold\nsoup, really"],
        "label": ["pos", "neg"],
    }


def test_quotes_that_take_in_rows_are_refused(tmp_path: Path) -> None:
    fails(
        tmp_path / "a.csv",
        'text,label\nfine,pos\nbad,neg\n"good,pos\npoor,neg\nso good",pos\n',
        "Expected a well quoted row, but the quote on line 4 of {path} takes in 2 lines more, "
        "which look like rows. Write a quote inside a quoted text twice, and quotes around the "
        "text.",
    )


def test_quotes_after_a_backslash(tmp_path: Path) -> None:
    r"""``\"`` is a quote and ``\\`` a backslash; another backslash stays."""
    content = (
        'text,label\n"so \\"good\\", really",pos\n"bad \\"",neg\nC:\\new,neg\n'
        '"a\\\\",pos\n"b",pos\n'
    )
    columns = read(tmp_path / "a.csv", content)
    assert columns.values["text"] == ['so "good", really', 'bad "', "C:\\new", "a\\", "b"]
    assert columns.notes == ('a.csv: a quote within a text is written \\".',)


def test_a_backslash_before_a_closing_quote_stays(tmp_path: Path) -> None:
    columns = read(tmp_path / "a.csv", 'text,label\n"C:\\",pos\n"D:\\",neg\n')
    assert columns.values["text"] == ["C:\\", "D:\\"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("text,label\nwarm\rsoup,pos\n", "warm\rsoup"),
        ('text,label\r\n"warm\rsoup",pos\r\n', "warm\rsoup"),
        ("text,label\rwarm\nsoup,pos\rcold,neg\r", "warm\nsoup"),
        ('text,label\r"warm\rsoup",pos\r', "warm\rsoup"),
        ("text,label\nwarm\x0b\x1c\x85\u2028soup,pos\n", "warm\x0b\x1c\x85\u2028soup"),
    ],
)
def test_line_breaks_within_a_text(tmp_path: Path, content: str, text: str) -> None:
    """Other ends of lines than the file's own belong to texts."""
    assert read(tmp_path / "a.csv", content).values["text"][0] == text


def test_one_column_of_prose(tmp_path: Path) -> None:
    """A header without a separator: commas before blanks are those of the texts."""
    path = tmp_path / "a.csv"
    path.write_text('text\nwarm, and good\n"cold, really"\n')
    columns = read_columns(path, lambda names: names)
    assert columns.values == {"text": ["warm, and good", "cold, really"]}
    assert columns.notes == (
        "a.csv: its first line names one column, so each line is one text with its commas.",
    )


def test_empty_rows_between_others_stay(tmp_path: Path) -> None:
    """So that the rows of an answer are those of the question."""
    columns = read(tmp_path / "a.csv", "text,label\na,pos\n,\nb,neg\n,\n")
    assert columns.values["text"] == ["a", "", "b"]
    assert list(columns.numbers) == [2, 3, 4]
    assert columns.notes == ("a.csv: 1 empty row at the end left out.",)


@pytest.mark.parametrize(
    ("content", "cells", "names"),
    [
        ("pos,warm soup\nneg,cold soup\n", "'pos', 'warm soup'", "label,text"),
        ("good,pos\nbad,neg\nfine,pos\n", "'good', 'pos'", "text,label"),
        (f"{'word ' * 1000},pos\n", f"'{('word ' * 8)}...', 'pos'", "text,label"),
        (
            "1,a,b,x,warm soup\n2,c,d,y,cold soup\n",
            "'1', 'a', 'b', 'x', ...",
            "other1,other2,other3,other4,text",
        ),
    ],
)
def test_a_file_without_header(tmp_path: Path, content: str, cells: str, names: str) -> None:
    fails(
        tmp_path / "a.csv",
        content,
        "Expected the names of the columns in the first line of {path}, but it looks like a row: "
        f"{cells}. Write the names above it, or give them, as --column-names {names}.",
    )


def test_names_that_are_given(tmp_path: Path) -> None:
    options = TextOptions(column_names=("label", "text"))
    content = "pos,warm soup\nneg,cold soup\n"
    assert read(tmp_path / "a.csv", content, options).values == ROWS
    fails(
        tmp_path / "a.csv",
        "pos,warm soup,1\n",
        "Expected a name for each of the 3 columns of {path}, but there are 2: label, text. "
        "Give a name for each cell of the first line.",
        options,
    )


def test_a_header_with_other_names_is_no_row(tmp_path: Path) -> None:
    """What chooses the columns explains that itself."""
    fails(tmp_path / "a.csv", "words,mood\nwarm,pos\n", "No text or label among words, mood.")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            "text,label,label\na,old,pos\n",
            "Expected every column's name once, but {path} has 2 columns named 'label'. "
            "Rename them.",
        ),
        (
            "text,label\na,pos\nb,neg,x\n",
            "Expected 2 columns as in the first line, but line 3 of {path} has 3. "
            "Put quotes around a text that holds the separator.",
        ),
        (
            "sep=,\ntext,label\na,pos,x\nb,neg,y\n",
            "Expected 2 columns as in line 2, but line 3 of {path} has 3. "
            "Name every column there, since each row has as many.",
        ),
        (
            'text,label\na,pos\n"b" he said,neg\n',
            "Expected a well quoted row, but the one that begins on line 3 of {path} is not "
            "(',' expected after '\"'). Write a quote inside a quoted text twice.",
        ),
        (
            'text\tlabel\n"a"\tpos\n"b" he said\tneg\n"c"\tneg\n"d"\tneg\n',
            "Expected a well quoted row, but the one that begins on line 3 of {path} is not "
            "('\t' expected after '\"'). Write a quote inside a quoted text twice.",
        ),
    ],
)
def test_what_is_no_table(tmp_path: Path, content: str, sentence: str) -> None:
    fails(tmp_path / "a.csv", content, sentence)


@pytest.mark.parametrize(
    ("above", "line"),
    [("Feedback of May\n\n", 3), ("# exported today\n# by me\n", 3), ("a,b\nc,d\n", 3)],
)
def test_a_title_above_the_names_is_said(tmp_path: Path, above: str, line: int) -> None:
    fails(
        tmp_path / "a.csv",
        f"{above}text,label\nwarm soup,pos\ncold soup,neg\n",
        f"Expected the names of the columns at the top of {{path}}, but they are on line {line}. "
        "Delete what is above them.",
    )


def test_marks_around_names_and_within_joined_files_are_no_text(tmp_path: Path) -> None:
    content = "\ufefftext\u200b,\xa0label \nwarm soup,pos\n\ufeffcold soup,neg\n"
    assert read(tmp_path / "a.csv", content).values == ROWS


def test_choices_of_other_questions_stand_beside_a_survey_tools_second_line(
    tmp_path: Path,
) -> None:
    content = "id,text,label\n,Open-Ended Response,Other (please specify)\n1,warm soup,pos\n"
    columns = read(tmp_path / "a.csv", content + "2,cold soup,neg\n")
    assert columns.values == ROWS
    assert columns.notes == (
        "a.csv: 1 line below the first left out, which a survey tool wrote as further headers.",
    )
