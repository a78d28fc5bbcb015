"""Labelled texts from files, folders and the catalogue."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pollice.catalogue.entries import DatasetFiles
from pollice.data import sources
from pollice.data.dataset import Dataset
from pollice.data.reading import ReadOptions, read_dataset, read_texts
from pollice.errors import DataError, SourceError

CSV = "text,label\nGood.<br /><br />Really.,pos\nBad &amp; sad.,neg\nGreat.,pos\n"


def write(folder: Path, content: str, name: str = "data.csv") -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return str(path)


def fails(source: str, sentence: str, options: ReadOptions | None = None) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        read_dataset(source, options or ReadOptions())


def test_a_file_becomes_a_data_set(tmp_path: Path) -> None:
    assert read_dataset(write(tmp_path, CSV)) == Dataset(
        ids=("0", "1", "2"),
        texts=("Good. Really.", "Bad & sad.", "Great."),
        labels=("pos", "neg", "pos"),
        label_names=("neg", "pos"),
    )


def test_html_is_kept_on_demand(tmp_path: Path) -> None:
    dataset = read_dataset(write(tmp_path, CSV), ReadOptions(keep_html=True))
    assert dataset.texts[0] == "Good.<br /><br />Really."


def test_columns_are_found_in_order(tmp_path: Path) -> None:
    """Of several candidates the first counts, in any case: label before rating."""
    source = write(
        tmp_path,
        "comment,Rating,LABEL,Review,ID,Split\n"
        "c,9,pos,r,a,train\nc,1,neg,r,b,test\nc,1,neg,r,c,dev\n",
    )
    dataset = read_dataset(source)
    assert dataset.texts == ("r", "r", "r")
    assert dataset.labels == ("pos", "neg", "neg")
    assert dataset.ids == ("a", "b", "c")
    assert dataset.parts == ("train", "test", "validation")


def test_columns_are_given(tmp_path: Path) -> None:
    source = write(tmp_path, "text,words,label,mood,key,part\nt,w,l,m,k,train\nt,w,l,n,k2,test\n")
    options = ReadOptions(
        text_column="Words", label_column="mood", id_column="key", split_column="part"
    )
    assert read_dataset(source, options) == Dataset(
        ids=("k", "k2"),
        texts=("w", "w"),
        labels=("m", "n"),
        label_names=("m", "n"),
        parts=("train", "test"),
        notes=(
            "1 text has rows of different labels, such as the ids k 'm', k2 'n'. The commonest "
            "label counts; to leave all their rows out: --drop-conflicts.",
        ),
    )


def test_label_names_are_sorted_as_numbers_if_they_are(tmp_path: Path) -> None:
    rows = "".join(f"text,{label}\n" for label in (10, 9, 1))
    assert read_dataset(write(tmp_path, "text,label\n" + rows)).label_names == ("1", "9", "10")
    words = read_dataset(write(tmp_path, "text,label\n" + rows + "text,b\n"))
    assert words.label_names == ("1", "10", "9", "b")


def test_codes_get_names(tmp_path: Path) -> None:
    """The order of the names is kept; two codes may share a name; -1 is the Hub's 'no label'."""
    table = pa.table({"text": ["a", "b", "c", "d"], "label": [1, 0, 2, -1]})
    pq.write_table(table, tmp_path / "a.parquet")
    names = {"2": "positive", "1": "positive", "0": "negative", "3": "unused"}
    dataset = read_dataset(str(tmp_path / "a.parquet"), ReadOptions(label_names=names))
    assert dataset.labels == ("positive", "negative", "positive")
    assert dataset.label_names == ("positive", "negative")
    assert dataset.dropped == {"no label": 1}


def test_a_code_without_a_name(tmp_path: Path) -> None:
    source = write(tmp_path, "text,label\na,0\nb,1\nc,2\n")
    fails(
        source,
        f"Expected the labels 0, 1 in {source}, but found '2' (1 row). Give every label a name "
        "with --label-names, or leave its rows out with --drop-label 2.",
        ReadOptions(label_names={"0": "negative", "1": "positive"}),
    )


def test_rows_without_text_or_label_are_counted(tmp_path: Path) -> None:
    source = write(tmp_path, "text,label\n<br />,a\nx,\ny,a\n ,\nz,b\n")
    dataset = read_dataset(source)
    assert dataset.ids == ("2", "4")
    assert dataset.dropped == {"empty text": 1, "no label": 2}


def test_texts_to_be_judged_keep_every_row(tmp_path: Path) -> None:
    source = write(tmp_path, "text,split\n<br />,what\nx,ever\n")
    table = read_texts(source)
    assert (table.ids, table.texts, table.gold, len(table)) == (("0", "1"), ("", "x"), None, 2)
    labelled = read_texts(write(tmp_path, "text,label\nx,1\ny,\n"))
    assert labelled.gold == ("1", None)


@pytest.mark.parametrize("parts", [True, False])
def test_a_folder_of_label_folders(tmp_path: Path, parts: bool) -> None:
    """The layout of aclImdb; its unlabelled reviews and its lists are no labels."""
    for part in ("train/", "test/") if parts else ("",):
        for label in ("pos", "neg", "unsup"):
            write(tmp_path, f"{label} film", f"{part}{label}/7_1.txt")
        write(tmp_path, "", f"{part}urls_pos.txt")
        write(tmp_path, "0 1", f"{part}pos/labeledBow.feat")
    (tmp_path / "empty").mkdir()
    dataset = read_dataset(str(tmp_path))
    assert dataset.label_names == ("neg", "pos")
    if parts:
        assert dataset.ids == ("test/neg/7_1", "test/pos/7_1", "train/neg/7_1", "train/pos/7_1")
        assert dataset.parts == ("test", "test", "train", "train")
        assert dataset.texts[0] == "neg film"
    else:
        assert (dataset.ids, dataset.parts) == (("neg/7_1", "pos/7_1"), None)


def test_a_folder_of_tables(tmp_path: Path) -> None:
    """As the Hub has them: the file names say the parts, other files are left."""
    write(tmp_path, "text,label\na,1\nb,0\n", "data/train-00000-of-00002.csv")
    write(tmp_path, "text,label\nc,1\n", "data/train-00001-of-00002.csv")
    write(tmp_path, "text,label\nd,0\n", "data/test.csv")
    write(tmp_path, "text,label\ne,-1\n", "data/unsupervised-00000.csv")
    dataset = read_dataset(str(tmp_path))
    assert dataset.texts == ("d", "a", "b", "c")
    assert dataset.parts == ("test", "train", "train", "train")
    assert dataset.ids == ("0", "1", "2", "3")


def test_ids_of_several_tables_name_their_part(tmp_path: Path) -> None:
    write(tmp_path, "id,text,label\n1,a,1\n2,b,0\n", "train.csv")
    write(tmp_path, "id,text,label\n1,c,1\n", "validation.csv")
    assert read_dataset(str(tmp_path)).ids == ("train/1", "train/2", "validation/1")


def test_a_folder_of_one_table_needs_no_part(tmp_path: Path) -> None:
    write(tmp_path, CSV)
    assert read_dataset(str(tmp_path)).parts is None


def test_tables_of_no_known_part(tmp_path: Path) -> None:
    write(tmp_path, CSV, "one.csv")
    write(tmp_path, CSV, "two.csv")
    fails(
        str(tmp_path),
        f"Expected tables that begin with train, validation or test in {tmp_path}, or numbered "
        "pieces of one, but found one.csv, two.csv. Name one of them.",
    )


def test_an_empty_folder(tmp_path: Path) -> None:
    fails(
        str(tmp_path),
        f"Expected tables, or folders of .txt files such as train/positive, in {tmp_path}, "
        "but found none. Name the folder that holds them.",
    )


def test_a_catalogue_entry_says_how_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stands in for the download only; a given column counts more than the entry's."""
    source = write(tmp_path, "quote,kind,text,mood\ngood,1,t,x\nbad,0,t,y\nstory,2,t,x\n")
    files = DatasetFiles(
        path=Path(source),
        text_column="quote",
        label_column="kind",
        label_names={"1": "fresh", "0": "rotten"},
        excluded={"kind": ("2",)},
    )
    monkeypatch.setattr(sources, "fetch_dataset", {"films": files}.get)
    dataset = read_dataset("films")
    assert (dataset.texts, dataset.labels) == (("good", "bad"), ("fresh", "rotten"))
    assert dataset.dropped == {"excluded": 1}
    assert read_texts(
        "films",
        ReadOptions(text_column="mood", label_column="mood", label_names={"x": "x", "y": "y"}),
    ).texts == ("x", "y", "x")


def test_an_unknown_source() -> None:
    fails(
        "roten-tomatoes",
        "Expected a file, a folder, hub:owner/name@revision or a data set of the catalogue, but "
        "there is no 'roten-tomatoes'. Check the name. Did you mean 'rotten-tomatoes'?",
    )


@pytest.mark.parametrize(
    ("content", "options", "sentence"),
    [
        (
            "text,label\na,1\n",
            ReadOptions(text_column="txt"),
            "Expected the text column 'txt' in {source}, but its columns are text, label. "
            "Did you mean 'text'?",
        ),
        (
            "text,label\na,1\n",
            ReadOptions(split_column="fold"),
            "Expected the split column 'fold' in {source}, but its columns are text, label.",
        ),
        (
            "words,label\na,1\n",
            ReadOptions(),
            "Expected a text column named text, review, content, sentence, comment or alike in "
            "{source}, but its columns are words, label. Name it with --text-column (in "
            "Python: text_column).",
        ),
        (
            "words,mark\na,1\n",
            ReadOptions(text_column="words"),
            "Expected a label column named label, sentiment, category, class, polarity or alike "
            "in {source}, but its columns are words, mark. Name it with --label-column (in "
            "Python: label_column).",
        ),
        (
            "text,label\na,1\nb,1\n",
            ReadOptions(),
            "Expected two labels or more, but every row of {source} has the label '1'. "
            "Name another column with --label-column, or add rows of another label.",
        ),
        (
            "text,label\n,1\nb,\n",
            ReadOptions(),
            "Expected rows with a text and a label, but {source} has none; left out: 1 row (empty "
            "text), 1 row (no label). "
            "Name another column with --text-column or --label-column.",
        ),
        (
            "id,text,label\nx,a,1\ny,b,0\nx,c,0\n",
            ReadOptions(),
            "Expected every id once, but the column 'id' of {source} holds 'x' on line 2 and "
            "line 4. Make the ids unique, or number the rows with --id-column none.",
        ),
        (
            "id,text,label\nx,a,1\n,b,0\n",
            ReadOptions(),
            "Expected an id in every row, but the column 'id' of {source} is empty on line 3. "
            "Fill it in, name another column with --id-column, or number the rows with "
            "--id-column none.",
        ),
        (
            "split,text,label\nTrain,a,1\nextra,b,0\n",
            ReadOptions(),
            "Expected train, validation or test in the column 'split' of {source}, but line 3 "
            "holds 'extra'. Name another column with --split-column, or leave the parts out with "
            "--split-column none.",
        ),
        (
            "text,label\n" + "".join(f"x,{row % 7}\n" for row in range(13)),
            ReadOptions(),
            "Expected a few labels (1,000 at most), but {source} has 7 different ones on 13 rows, "
            "such as '0'. Name another column with --label-column.",
        ),
        (
            "text,label\n" + "".join(f"x,{row % 1001}\n" for row in range(3003)),
            ReadOptions(),
            "Expected a few labels (1,000 at most), but {source} has 1,001 different ones on 3,003 "
            "rows, such as '0'. Name another column with --label-column.",
        ),
    ],
)
def test_what_is_no_labelled_data_set(
    tmp_path: Path, content: str, options: ReadOptions, sentence: str
) -> None:
    source = write(tmp_path, content)
    fails(source, sentence.format(source=source), options)


def test_many_rows_may_have_a_thousand_labels(tmp_path: Path) -> None:
    content = "text,label\n" + "".join(f"x,{row % 1000}\n" for row in range(2000))
    assert len(read_dataset(write(tmp_path, content)).label_names) == 1000


def small(**columns: Any) -> Dataset:
    usual = {
        "ids": ("a", "b"),
        "texts": ("x", "y"),
        "labels": ("0", "1"),
        "label_names": ("0", "1"),
    }
    return Dataset(**{**usual, **columns})


def test_rows_are_taken_in_the_order_asked() -> None:
    taken = small(parts=("train", "test")).take([1, 0])
    assert taken == Dataset(
        ids=("b", "a"),
        texts=("y", "x"),
        labels=("1", "0"),
        label_names=("0", "1"),
        parts=("test", "train"),
    )
    assert len(small().take([1])) == 1
    assert small().take([1]).label_names == ("0", "1")


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"texts": ("x",)}, "texts must have 2 rows like ids, not 1."),
        ({"parts": ("train",)}, "parts must have 2 rows like ids, not 1."),
        ({"ids": ("a", "a")}, "Every id must be unique, but 'a' stands on several rows."),
        ({"labels": ("0", "2")}, "Every label must be one of the label names 0, 1, but found '2'."),
    ],
)
def test_a_data_set_is_whole(columns: dict[str, tuple[str, ...]], sentence: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        small(**columns)


def test_a_hub_name_needs_its_revision() -> None:
    """A name of the Hub goes to the Hub's own rules."""
    with pytest.raises(
        SourceError, match=r"^A dataset on the Hub is named hub:owner/name@revision"
    ):
        read_dataset("hub:owner/name")


def test_a_label_of_the_first_row_alone_is_said(tmp_path: Path) -> None:
    """A second line of names, as some survey tools write it, is read as a row."""
    rows = "warm,pos\nfine,pos\ncold,neg\nold,neg\n"
    source = write(tmp_path, f"text,label\nWhat do you think?,Overall\n{rows}")
    assert read_dataset(source).notes[1:] == (
        f"The label 'Overall' of the first row of {source} is that of no other row. If that row is "
        "a second line of names, as survey tools write it, leave it out: --drop-label 'Overall'.",
    )
    assert len(read_dataset(write(tmp_path, f"text,label\n{rows}")).notes) == 1


def test_what_was_decided_is_said_before_labels_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The sentence tells why there is only one label."""
    source = write(tmp_path, "text,label\nwarm,pos\ncold,nan\n")
    with caplog.at_level("INFO", logger="pollice"), pytest.raises(DataError):
        read_dataset(source)
    assert (
        f"The label 'nan' (1 row) in {source} counts as no label, since programs write it for "
        "none. To keep such rows, name every label: --label-names nan=NAME,..." in caplog.messages
    )


def test_an_empty_name_is_no_folder() -> None:
    fails(
        "",
        "Expected a file, a folder, hub:owner/name@revision or a data set of the catalogue, but "
        "there is no ''. Check the name.",
    )
