"""What is read of a folder, what is left aside, and what is said about both."""

import gzip
import json
import os
import re
from pathlib import Path

import pyarrow as pa
import pytest

from pollice.data.formats.suffixes import is_hidden
from pollice.data.reading import ReadOptions, read_dataset, read_texts
from pollice.errors import DataError
from spreadsheet_files import xlsx

CSV = "text,label\nwarm soup,pos\ncold soup,neg\n"
HIDDEN = (
    ".DS_Store",
    "._train.csv",
    ".ipynb_checkpoints/train-checkpoint.csv",
    "__MACOSX/._train.csv",
    "__MACOSX/train.csv",
    "Thumbs.db",
    "~$train.csv",
)

OTHER_ENCODING = (
    "Save it again as UTF-8, or name its encoding with --encoding, such as cp1252 or latin-1 "
    "(Western), cp1251 (Cyrillic), gb18030 (Chinese), shift_jis (Japanese)."
)


def write(folder: Path, **files: str) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def fails(source: Path, sentence: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        read_dataset(str(source))


def test_what_systems_put_beside_the_data_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, **dict.fromkeys(HIDDEN, "\0"), **{"train.csv": CSV})
    dataset = read_dataset(str(tmp_path))
    assert dataset.texts == ("warm soup", "cold soup")
    assert dataset.notes == (
        f"Read from {tmp_path}: train.csv.",
        "train.csv: texts from the column 'text', labels from the column 'label'.",
    )


def test_a_hidden_folder_that_is_named_is_read(tmp_path: Path) -> None:
    write(tmp_path / ".cache", **{"train.csv": CSV})
    assert len(read_dataset(str(tmp_path / ".cache"))) == 2


@pytest.mark.parametrize("name", ["train.csv", "_train.csv", "macosx", "a~$.csv"])
def test_files_of_a_person_are_not_hidden(name: str) -> None:
    assert not is_hidden(name)


def test_hidden_files_are_no_texts(tmp_path: Path) -> None:
    write(
        tmp_path,
        **{
            "pos/a.txt": "warm",
            "neg/b.txt": "cold",
            "pos/._a.txt": "\0",
            "pos/.ipynb_checkpoints/a.txt": "warm",
            "__MACOSX/a.txt": "x",
            "unsup/c.txt": "x",
            "neg/notes.md": "x",
        },
    )
    dataset = read_dataset(str(tmp_path))
    assert dataset.ids == ("neg/b", "pos/a")
    assert dataset.notes == (
        f"Read from {tmp_path}: 2 texts in folders of the labels neg, pos.",
        "Not read, since their texts have no label: unsup.",
        "1 file in the folders of labels not read, since only .txt is, such as neg/notes.md.",
    )


def test_links_out_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    """Links from inside to inside are, and one that turns in a circle ends."""
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    write(outside, **{"secret.txt": "secret", "pos/secret.txt": "secret"})
    write(folder, **{"pos/a.txt": "warm", "neg/b.txt": "cold", ".store/c.txt": "kept"})
    (folder / "pos" / "secret.txt").symlink_to(outside / "secret.txt")
    (folder / "more").symlink_to(outside / "pos")
    (folder / "neg" / "c.txt").symlink_to(folder / ".store" / "c.txt")
    (folder / "neg" / "round").symlink_to(folder)
    dataset = read_dataset(str(folder))
    assert dataset.texts == ("cold", "kept", "warm")
    assert (
        f"In {folder}, 2 links lead out of the folder, so not followed: more, pos/secret.txt."
        in dataset.notes
    )


def test_a_folder_of_links_out_of_it_is_refused_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path / "outside", **{"a.csv": CSV})
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "train.csv").symlink_to(tmp_path / "outside" / "a.csv")
    fails(
        tmp_path / "folder",
        "Expected tables, or folders of .txt files such as train/positive, in "
        f"{tmp_path / 'folder'}, but found none. In {tmp_path / 'folder'}, 1 link leads out of the "
        "folder, so not followed: train.csv. Name the folder that holds them.",
    )


def test_a_folder_of_the_hubs_cache_is_links_to_its_blobs(tmp_path: Path) -> None:
    write(tmp_path / "blobs", abc=CSV)
    snapshot = tmp_path / "snapshots" / "0" / "data"
    snapshot.mkdir(parents=True)
    (snapshot / "train.csv").symlink_to("../../../blobs/abc")
    for root in (snapshot, snapshot.parent):
        assert len(read_dataset(str(root))) == 2


def test_a_pipe_is_never_opened(tmp_path: Path) -> None:
    write(tmp_path, **{"pos/a.txt": "warm", "neg/b.txt": "cold"})
    os.mkfifo(tmp_path / "pos" / "c.txt")
    assert (
        f"In {tmp_path}, 1 entry is no ordinary file, so not opened: pos/c.txt."
        in read_dataset(str(tmp_path)).notes
    )
    fails(
        tmp_path / "pos" / "c.txt",
        f"Expected a file, but {tmp_path / 'pos' / 'c.txt'} is a pipe. "
        "Save what it gives as a file, and name that.",
    )


def test_a_text_that_is_too_large_or_no_text_is_named(tmp_path: Path) -> None:
    write(tmp_path, **{"pos/a.txt": "warm", "neg/b.txt": "cold"})
    (tmp_path / "neg" / "c.txt").write_bytes(b"\xff")
    fails(
        tmp_path,
        f"Expected UTF-8, but line 1 of {tmp_path / 'neg' / 'c.txt'} holds the byte 0xff at "
        f"column 1. {OTHER_ENCODING}",
    )
    os.truncate(tmp_path / "pos" / "a.txt", 65 * 2**20)
    fails(
        tmp_path,
        f"Expected texts of at most 64 MiB, but {tmp_path / 'pos' / 'a.txt'} has 65 MiB. "
        "Move it out of the folder.",
    )


def test_several_data_sets_in_one_folder_are_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, **{"en/train.csv": CSV, "de/train.csv": CSV, "de/test.csv": CSV})
    fails(
        tmp_path,
        f"Expected one data set in {tmp_path}, but found 2: de, en. "
        f"Name one of them, such as {tmp_path / 'de'}.",
    )
    assert len(read_dataset(str(tmp_path / "en"))) == 2
    write(tmp_path, **{"train.csv": CSV})
    with pytest.raises(DataError, match=r"but found 3: de, en, the folder itself\. Name one"):
        read_texts(str(tmp_path))


def test_configurations_in_the_head_of_a_readme_are_refused_by_name(tmp_path: Path) -> None:
    head = (
        "---\nconfigs:\n- config_name: en\n  data_files: train_en.csv\n- config_name: de\n"
        "  data_files:\n  - split: train\n    path: [train_d*.csv]\n"
        "- config_name: gone\n  data_files: gone/*\n---\n# Reviews\n"
    )
    write(tmp_path, **{"train_en.csv": CSV, "train_de.csv": CSV, "README.md": head})
    fails(
        tmp_path,
        f"Expected one data set in {tmp_path}, but its README.md names 2: en, de. "
        f"Name a file or folder of one of them, such as {tmp_path / 'train_en.csv'}.",
    )
    for other in ("no head", "---\nconfigs: 3\n---\n", "---\n: [\n---\n", "---\nconfigs: [1]\n---"):
        write(tmp_path, **{"README.md": other})
        fails(
            tmp_path,
            f"Expected one table for the part train in {tmp_path}, or numbered pieces such as "
            "train-00000-of-00002.csv, but found train_de.csv, train_en.csv. Name one of them, or "
            "move the others away.",
        )


@pytest.mark.parametrize(
    "names",
    [
        ("train/de.csv", "train/en.csv"),
        ("train.csv", "train_old.csv"),
        ("train.csv", "train.csv.gz"),
        ("train-v1.csv", "train-v2.csv"),
        ("train-0.csv", "train-en-1.csv"),
        ("train.csv", "train (copy).csv"),
    ],
)
def test_tables_of_one_part_that_are_no_pieces_are_refused_by_name(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    """Rows of two languages, or of an older copy, are not joined without a word."""
    write(tmp_path, **dict.fromkeys(names, CSV))
    fails(
        tmp_path,
        f"Expected one table for the part train in {tmp_path}, or numbered pieces such as "
        f"train-00000-of-00002.csv, but found {', '.join(sorted(names))}. Name one of them, or "
        "move the others away.",
    )


@pytest.mark.parametrize(
    "names",
    [
        ("train-00000-of-00002.csv", "train-00001-of-00002.csv"),
        ("train/part-0.csv", "train/part-1.csv"),
        ("part-0.csv", "part-1.csv"),
        ("reviews 2019.csv", "reviews 2020.csv"),
        ("train-0.csv", "train-1.csv.gz"),
        (
            "train-00000-of-00002-a1b2c3d4e5f60718.csv",
            "train-00001-of-00002-0b7de3ff99c0aa12.csv",
        ),
        (
            "train/part-00000-5f1c8e0a-1b2c-4d3e-8f90-a1b2c3d4e5f6-c000.csv",
            "train/part-00001-5f1c8e0a-1b2c-4d3e-8f90-a1b2c3d4e5f6-c000.csv",
        ),
    ],
)
def test_numbered_pieces_are_read_together_and_named(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    write(tmp_path, **{name: CSV for name in names if not name.endswith(".gz")})
    for name in names:
        if name.endswith(".gz"):
            (tmp_path / name).write_bytes(gzip.compress(CSV.encode()))
    dataset = read_dataset(str(tmp_path))
    assert len(dataset) == 4
    assert dataset.notes[0] == f"Read from {tmp_path}: {', '.join(sorted(names))}."


def test_a_part_may_be_the_name_of_a_folder(tmp_path: Path) -> None:
    write(tmp_path, **{"train/0.csv": CSV, "train/1.csv": CSV, "test/0.csv": CSV})
    dataset = read_dataset(str(tmp_path))
    assert dataset.parts == ("test", "test", "train", "train", "train", "train")


def test_a_part_in_two_formats_is_refused(tmp_path: Path) -> None:
    write(tmp_path, **{"train.csv": CSV, "train.jsonl": '{"text": "a", "label": 1}'})
    fails(
        tmp_path,
        f"Expected each part in one format in {tmp_path}, but found train.csv and train.jsonl. "
        "Name one of them, or move one away.",
    )


def test_a_test_part_without_labels_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    write(
        tmp_path,
        **{
            "train.csv": CSV,
            "test.csv": "id,text\n1,fine soup\n",
            "sample_submission.csv": "id,label\n1,pos\n",
        },
    )
    dataset = read_dataset(str(tmp_path))
    assert dataset.texts == ("warm soup", "cold soup")
    assert dataset.parts == ("train", "train")
    assert dataset.notes == (
        f"Read from {tmp_path}: test.csv, train.csv. "
        "Not read, since the name says no part: sample_submission.csv.",
        "test.csv has no labels and is left out: only the other parts are read.",
        "train.csv: texts from the column 'text', labels from the column 'label'.",
    )
    assert len(read_texts(str(tmp_path))) == 3


def test_training_rows_need_their_labels(tmp_path: Path) -> None:
    write(tmp_path, **{"train.csv": "text\na\n", "test.csv": CSV})
    fails(
        tmp_path,
        "Expected a label column named label, sentiment, category, class, polarity or alike in "
        f"{tmp_path / 'train.csv'}, but its columns are text. Name it with --label-column (in "
        "Python: label_column).",
    )


def test_columns_that_could_have_been_meant_are_named(tmp_path: Path) -> None:
    write(tmp_path, **{"a.csv": "review,comment,category,rating,title\nx,y,A,1,t\nz,w,B,5,t\n"})
    source = str(tmp_path / "a.csv")
    assert read_dataset(source).notes == (
        "a.csv: texts from the column 'review', labels from the column 'category'; not used: "
        "'comment', 'rating', 'title'.",
        f"The text column of {source} is 'review'. Others could be it too: 'comment', 'title'. "
        "Name another with --text-column.",
        f"The label column of {source} is 'category'. Others could be it too: 'rating'. "
        "Name another with --label-column.",
    )
    given = ReadOptions(text_column="comment", label_column="rating")
    assert read_dataset(source, given).notes == (
        "a.csv: texts from the column 'comment', labels from the column 'rating'; not used: "
        "'review', 'category', 'title'.",
    )


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    table = pa.table([["a", "b"], ["x", "y"], [1, 2]], names=["text", "text", "label"])
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    fails(
        tmp_path / "a.arrow",
        f"Expected one column named 'text' in {tmp_path / 'a.arrow'}, but its columns 1 and 2 "
        "have that name. Rename one of them, or name another with --text-column.",
    )


def test_files_that_lie_beside_texts_are_no_tables(tmp_path: Path) -> None:
    write(tmp_path, **{"pos/a.txt": "warm", "neg/b.txt": "cold", "info.json": "{}", "o.json": "1"})
    assert read_dataset(str(tmp_path)).labels == ("neg", "pos")
    (tmp_path / "train.csv").write_text(CSV)
    assert read_dataset(str(tmp_path)).labels == ("pos", "neg")


@pytest.mark.parametrize("name", ["train.json", "train.txt"])
def test_a_folder_of_other_tables_alone(tmp_path: Path, name: str) -> None:
    content = "__label__pos warm\n__label__neg cold\n"
    if name == "train.json":
        content = json.dumps([{"text": "warm", "label": "pos"}, {"text": "cold", "label": "neg"}])
    write(tmp_path, **{name: content})
    dataset = read_dataset(str(tmp_path))
    assert (dataset.labels, dataset.parts) == (("pos", "neg"), ("train", "train"))


def test_a_sheet_is_an_option(tmp_path: Path) -> None:
    rows = [["text", "label"], ["a", "x"], ["b", "y"]]
    (tmp_path / "a.xlsx").write_bytes(xlsx([["text"], ["c"]], more={"Two": rows}))
    assert len(read_dataset(str(tmp_path / "a.xlsx"), ReadOptions(sheet="Two"))) == 2


def save_to_disk(folder: Path, labels: list[int], names: list[str]) -> None:
    """What ``datasets`` writes, without the class names in the schema of the Arrow file."""
    folder.mkdir(parents=True)
    table = pa.table({"text": [f"text {row}" for row in range(len(labels))], "label": labels})
    with pa.ipc.new_stream(str(folder / "data-00000-of-00001.arrow"), table.schema) as writer:
        writer.write_table(table)
    features = {"label": {"_type": "ClassLabel", "names": names}}
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    files = [{"filename": "data-00000-of-00001.arrow"}]
    (folder / "state.json").write_text(json.dumps({"_data_files": files}))


def test_what_datasets_saved(tmp_path: Path) -> None:
    for split in ("train", "test", "unsupervised"):
        save_to_disk(tmp_path / split, [1, 0, -1], ["neg", "pos"])
    splits = {"splits": ["train", "test", "unsupervised"]}
    (tmp_path / "dataset_dict.json").write_text(json.dumps(splits))
    dataset = read_dataset(str(tmp_path))
    assert dataset.labels == ("pos", "neg") * 2
    assert dataset.parts == ("train", "train", "test", "test")
    assert dataset.notes[0] == (
        f"Read from {tmp_path}: train, test. Not read, since the name says no part: unsupervised."
    )
    assert read_dataset(str(tmp_path / "unsupervised")).labels == ("pos", "neg")


def test_what_datasets_really_saves(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets comes with the extra lora")
    features = datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=["neg", "pos"])
    )
    columns = {"text": ["a", "b", "c"], "label": [0, 1, 1]}
    table = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict(train=table, test=table).save_to_disk(tmp_path / "several")
    assert read_dataset(str(tmp_path / "several")).labels == ("neg", "pos", "pos") * 2
    table.select([2, 0]).save_to_disk(tmp_path / "one", num_shards=2)
    dataset = read_dataset(str(tmp_path / "one"))
    assert (dataset.texts, dataset.labels, dataset.parts) == (("c", "a"), ("pos", "neg"), None)


def test_names_of_classes_that_differ_between_parts(tmp_path: Path) -> None:
    save_to_disk(tmp_path / "train", [1, 0], ["neg", "pos"])
    save_to_disk(tmp_path / "test", [1, 0], ["pos", "neg"])
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    fails(
        tmp_path,
        "Expected the same names of labels in every part, but they differ: ['neg', 'pos'] and "
        "['pos', 'neg']. Name one of the parts.",
    )


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("dataset_dict.json", '{"splits": ["../x"]}', "names '../x'"),
        (
            "dataset_dict.json",
            '{"splits": ["out"]}',
            "names 'out', which is a link that leads out of the folder",
        ),
        ("dataset_dict.json", "[]", "holds a list"),
        ("dataset_dict.json", '{"splits": []}', "names no splits"),
        ("dataset_dict.json", "[" * 100_000, "is not JSON"),
        (
            "train/state.json",
            '{"_data_files": [{"filename": "/etc/passwd"}]}',
            "names '/etc/passwd'",
        ),
        ("train/state.json", '{"_data_files": [{}]}', "names None"),
    ],
)
def test_a_damaged_folder_of_datasets(tmp_path: Path, name: str, content: str, found: str) -> None:
    root = tmp_path / "root"
    save_to_disk(root / "train", [1, 0], ["neg", "pos"])
    save_to_disk(tmp_path / "outside", [1, 0], ["neg", "pos"])
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "dataset_dict.json").write_text('{"splits": ["train"]}')
    (root / name).write_text(content)
    fails(
        root,
        f"Expected what save_to_disk writes, but {root / name} {found}. Save the data set again.",
    )


@pytest.mark.parametrize("numbers", [(0, 2), (1, 3)])
def test_missing_pieces_are_said(tmp_path: Path, numbers: tuple[int, int]) -> None:
    """A download that was cut short is no whole data set. Some count their pieces from 1."""
    write(tmp_path, **{f"train-{number:05}-of-00003.csv": CSV for number in numbers})
    assert read_dataset(str(tmp_path)).notes[1] == (
        f"Of the 3 pieces train in {tmp_path}, these numbers are missing: {numbers[0] + 1}. Fetch "
        "them, if their rows should count."
    )


def test_many_missing_pieces_are_counted(tmp_path: Path) -> None:
    write(tmp_path, **{"train-0-of-9.csv": CSV, "train-1-of-9.csv": CSV})
    assert (
        f"Of the 9 pieces train in {tmp_path}, these numbers are missing: 2, 3, 4, 5, 6 and 2 "
        "more. Fetch them, if their rows should count." in read_dataset(str(tmp_path)).notes
    )


def test_texts_whose_names_are_in_capitals_are_read(tmp_path: Path) -> None:
    write(tmp_path, **{"pos/A.TXT": "warm", "neg/B.Txt": "cold"})
    assert read_dataset(str(tmp_path)).texts == ("cold", "warm")


def test_a_folder_without_any_of_these_says_what_it_has(tmp_path: Path) -> None:
    """Such as the folder of one label, or texts of another format."""
    write(tmp_path, **{"b.txt": "warm", "pos/a.md": "cold"})
    fails(
        tmp_path,
        "Expected tables, or folders of .txt files such as train/positive, in "
        f"{tmp_path}, but found only b.txt, pos/a.md. Name the folder that holds them.",
    )
