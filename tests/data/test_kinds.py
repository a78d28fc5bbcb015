"""Kinds of files that people have, each with the labels, the note or the sentence it must give."""

import io
import json
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pollice.data.columns import ReadOptions
from pollice.data.formats import suffixes
from pollice.data.formats.lines import COMPRESSED_SUFFIXES
from pollice.data.reading import read_dataset, read_texts
from pollice.errors import PolliceError

Files = Mapping[str, bytes | str]
PLAIN = "text,label\nwarm soup,pos\ncold soup,neg\n"
BOTH = {"pos": 1, "neg": 1}
SAD = "d\xe9\xe7u"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Files that are written, what is read from them, and what is said."""

    files: Files
    source: str = ""
    """The file to read; none: the folder."""
    labels: Mapping[str, int] = field(default_factory=dict)
    """How often each label is read; none: the file is refused."""
    says: str = ""
    """A part of a note, or of the sentence that refuses."""
    options: ReadOptions = field(default_factory=ReadOptions)
    dropped: Mapping[str, int] = field(default_factory=dict)


def one(name: str, content: bytes | str, **rest: object) -> Kind:
    """Return a kind of one file."""
    return Kind(files={name: content}, source=name, **rest)  # type: ignore[arg-type]


def parquet(table: pa.Table) -> bytes:
    """Return the bytes of a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def arrow(table: pa.Table) -> bytes:
    """Return the bytes of a Feather file."""
    sink = io.BytesIO()
    feather.write_feather(table, sink)
    return sink.getvalue()


def zipped(files: Files) -> bytes:
    """Return the bytes of a zip file."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return sink.getvalue()


def labelled(*labels: object, texts: str = "text") -> pa.Table:
    """Return a table of different texts with these labels."""
    names = [f"soup number {row} of the day" for row in range(len(labels))]
    return pa.table({texts: names, "label": list(labels)})


def coded() -> pa.Table:
    """Return a table with the class names that datasets writes beside it."""
    features = {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}
    said = json.dumps({"info": {"features": features}})
    return labelled(0, 1, -1).replace_schema_metadata({"huggingface": said})


KINDS: dict[str, Kind] = {
    "excel-sep-line": one(
        "a.csv", "sep=;\ntext;label\nwarm soup;pos\ncold soup;neg\n", labels=BOTH
    ),
    "excel-sep-line-with-mark-and-tab": one(
        "a.csv", "\ufeffsep=\t\r\ntext\tlabel\r\nwarm soup\tpos\r\ncold soup\tneg\r\n", labels=BOTH
    ),
    "semicolon-with-comma-in-header": one(
        "a.csv", "Comment;Helpful, yes/no;Label\nwarm soup;y;pos\ncold soup;n;neg\n", labels=BOTH
    ),
    "tab-in-csv": one("a.csv", "text\tlabel\nwarm, soup\tpos\ncold soup\tneg\n", labels=BOTH),
    "mac-line-ends": one("a.csv", PLAIN.replace("\n", "\r"), labels=BOTH),
    "stray-carriage-return": one(
        "a.csv", 'text,label\n"warm\rsoup",pos\ncold soup,neg\n', labels=BOTH
    ),
    "bare-quotes-in-tsv": one(
        "a.tsv",
        'text\tlabel\n"warm soup\tpos\ncold" soup\tneg\nsoup\tpos\n',
        labels={"pos": 2, "neg": 1},
    ),
    "empty-rows-and-columns-at-the-end": one(
        "a.csv",
        "text,label,,\nwarm soup,pos,,\ncold soup,neg,,\n,,,\n,,,\n",
        labels=BOTH,
        says="2 empty rows at the end left out",
    ),
    "missing-last-cells": one(
        "a.csv",
        "text,label,note\nwarm soup,pos,x\ncold soup,neg\n",
        labels=BOTH,
        says="1 row had fewer cells than the header, first on line 3",
    ),
    "no-header": one(
        "a.csv",
        "pos,warm soup of the day\nneg,cold soup of the day\n",
        says="Write the names above it, or give them, as --column-names label,text.",
    ),
    "no-header-and-a-long-text": one(
        "a.csv", f"pos,{'warm soup ' * 500}\nneg,cold soup\n", says="but it looks like a row"
    ),
    "no-header-with-names-given": one(
        "a.csv",
        "pos,warm soup\nneg,cold soup\n",
        labels=BOTH,
        options=ReadOptions(column_names=("label", "text")),
    ),
    "label-column-twice": one(
        "a.csv",
        "text,label,label\nwarm soup,pos,neg\ncold soup,neg,pos\n",
        says="its columns 2 and 3 have that name",
    ),
    "na-and-none-among-words": one(
        "a.csv",
        "text,label\nsoup,NA\ntea,None\nbread,EU\n",
        labels={"NA": 1, "None": 1, "EU": 1},
        says="count as any other",
    ),
    "nan-among-numbers": one(
        "a.csv",
        "text,label\nsoup,nan\ntea,1\nbread,0\n",
        labels={"0": 1, "1": 1},
        dropped={"no label": 1},
        says="counts as no label",
    ),
    "labels-in-three-spellings": one(
        "a.csv",
        "text,label\nsoup,Pos\ntea,pos\nbread,POS\nmilk,neg\n",
        labels={"Pos": 1, "pos": 1, "POS": 1, "neg": 1},
        says="--merge-labels case",
    ),
    "labels-in-three-spellings-merged": one(
        "a.csv",
        "text,label\nsoup,Pos\ntea,pos\nwine,pos\nbread,POS\nmilk,neg\n",
        labels={"pos": 4, "neg": 1},
        options=ReadOptions(merge_labels="case"),
    ),
    "several-labels-joined": one(
        "a.csv",
        'text,label\nsoup,food\ntea,staff\nbread,"food,staff"\n',
        says="--several-labels drop",
    ),
    "several-labels-dropped": one(
        "a.csv",
        'text,label\nsoup,food\ntea,staff\nbread,"food,staff"\n',
        labels={"food": 1, "staff": 1},
        dropped={"several labels": 1},
        options=ReadOptions(several_labels="drop"),
    ),
    "one-label-in-a-list": one(
        "a.jsonl",
        '{"text": "soup", "label": ["pos"]}\n{"text": "tea", "label": ["neg"]}\n',
        labels=BOTH,
        says="it is taken out",
    ),
    "json-array": one(
        "a.json", '[{"text": "soup", "label": "pos"}, {"text": "tea", "label": "neg"}]', labels=BOTH
    ),
    "json-array-named-lines": one(
        "a.jsonl",
        '[\n{"text": "soup", "label": "pos"},\n{"text": "tea", "label": "neg"}\n]\n',
        labels=BOTH,
    ),
    "label-studio": one(
        "a.json",
        json.dumps(
            [
                {
                    "id": row,
                    "data": {"text": text},
                    "annotations": [
                        {
                            "result": [
                                {
                                    "from_name": "sentiment",
                                    "to_name": "text",
                                    "type": "choices",
                                    "value": {"choices": [label]},
                                }
                            ]
                        }
                    ],
                }
                for row, (text, label) in enumerate([("warm soup", "pos"), ("cold soup", "neg")])
            ]
        ),
        labels=BOTH,
    ),
    "numbers-in-three-spellings": one(
        "a.csv",
        "text,label\nsoup,1.0\ntea,01\nbread,1\nmilk,0\n",
        labels={"1": 3, "0": 1},
        says="are one label: '1'",
    ),
    "truth-values": one(
        "a.parquet", parquet(labelled(True, False)), labels={"true": 1, "false": 1}
    ),
    "truth-values-as-words": one(
        "a.csv", "text,label\nsoup,True\ntea,true\nbread,FALSE\n", labels={"true": 2, "false": 1}
    ),
    "whole-floats": one(
        "a.parquet",
        parquet(labelled(1.0, 0.0, None)),
        labels={"1": 1, "0": 1},
        dropped={"no label": 1},
    ),
    "minus-one-is-a-label": one(
        "a.csv", "text,label\nsoup,-1\ntea,0\nbread,1\n", labels={"-1": 1, "0": 1, "1": 1}
    ),
    "test-part-without-labels": Kind(
        files={
            "train.csv": PLAIN,
            "test.csv": "id,text\n1,tea\n",
            "sample_submission.csv": "id\n1\n",
        },
        labels=BOTH,
        says="test.csv has no labels and is left out",
    ),
    "two-configurations": Kind(
        files={"en/train.csv": PLAIN, "de/train.csv": PLAIN}, says="but found 2: de, en."
    ),
    "class-names-in-parquet": one(
        "a.parquet", parquet(coded()), labels=BOTH, dropped={"no label": 1}
    ),
    "feather": one("a.feather", arrow(labelled("pos", "neg")), labels=BOTH),
    "other-columns-are-named": one(
        "a.csv",
        "review,comment,label\nwarm soup,x,pos\ncold soup,y,neg\n",
        labels=BOTH,
        says="Others could be it too: 'comment'",
    ),
    "id-twice": one("a.csv", "id,text,label\n7,soup,pos\n7,tea,neg\n", says="--id-column none"),
    "id-twice-not-read": one(
        "a.csv",
        "id,text,label\n7,soup,pos\n7,tea,neg\n",
        labels=BOTH,
        options=ReadOptions(id_column="none"),
    ),
    "cp1252": one(
        "a.csv", PLAIN.replace("warm", "caf\xe9").encode("cp1252"), says="Expected UTF-8"
    ),
    "cp1252-by-name": one(
        "a.csv",
        PLAIN.replace("warm", "caf\xe9").encode("cp1252"),
        labels=BOTH,
        options=ReadOptions(encoding="cp1252"),
    ),
    "utf-16-with-tabs": one(
        "a.csv", PLAIN.replace(",", "\t").encode("utf-16"), labels=BOTH, says="read as UTF-16"
    ),
    "fasttext": one("a.txt", "__label__pos warm soup\n__label__neg cold soup\n", labels=BOTH),
    "split-with-fold-numbers": one(
        "a.csv", "text,label,split\nsoup,pos,0\ntea,neg,1\n", says="--split-column none"
    ),
    "survey-headers": one(
        "a.csv",
        "ResponseId,text,label\nResponse ID,Your opinion?,Label\n"
        '"{""ImportId"":""_id""}","{""ImportId"":""Q1""}","{""ImportId"":""Q2""}"\n'
        "R1,warm soup,pos\nR2,cold soup,neg\n",
        labels=BOTH,
        says="2 lines below the first left out",
    ),
    "json-lines-with-nan": one(
        "a.jsonl",
        '{"text": "soup", "label": NaN}\n{"text": "tea", "label": 1}\n'
        '{"text": "milk", "label": 0.0}\n{"text": "bread", "label": 1.0}\n',
        labels={"1": 2, "0": 1},
        dropped={"no label": 1},
    ),
    "odd-label-names": one(
        "a.csv",
        'text,label\nsoup,"=good:""yes"""\ntea,"bad, very / bad"\n',
        labels={'=good:"yes"': 1, "bad, very / bad": 1},
    ),
    "apple-double-among-texts": Kind(
        files={"pos/1.txt": "soup", "pos/._1.txt": b"\x00\x05", "neg/2.txt": "tea"}, labels=BOTH
    ),
    "unpacked-on-a-mac": Kind(
        files={"reviews.csv": PLAIN, "__MACOSX/._reviews.csv": b"\x00\x05"}, labels=BOTH
    ),
    "notebook-checkpoints": Kind(
        files={"train.csv": PLAIN, ".ipynb_checkpoints/train.csv": PLAIN}, labels=BOTH
    ),
    "zip-with-mac-files": one(
        "a.zip", zipped({"a.csv": PLAIN, "__MACOSX/._a.csv": "x"}), labels=BOTH
    ),
    "no-spreadsheet": one("a.xlsx", b"PK\x03\x04 not one", says="Expected a whole spreadsheet"),
    "composed-and-decomposed": one(
        "a.csv",
        f"text,label\nsoup,{SAD}\ntea,{unicodedata.normalize('NFD', SAD)}\nmilk,ok\n",
        labels={SAD: 2, "ok": 1},
        says="are one label",
    ),
    "names-of-codes": one(
        "a.csv",
        "text,label\nsoup,0\ntea,1\n",
        labels={"bad film": 1, "good film": 1},
        options=ReadOptions(label_names={"0": "bad film", "1": "good film"}),
    ),
    "index-without-a-name": one(
        "a.csv", ",Unnamed: 0,text,label\n0,0,soup,pos\n1,1,tea,neg\n", labels=BOTH
    ),
    "quotes-with-backslash": one(
        "a.csv",
        'text,label\n"the \\"warm\\", soup",pos\n"cold soup",neg\n',
        labels=BOTH,
        says='a quote within a text is written \\".',
    ),
    "ratings-in-bins": one(
        "a.csv",
        "text,label\nsoup,1\ntea,3\nbread,5\n",
        labels={"negative": 1, "positive": 2},
        options=ReadOptions(rating_bins="negative<3<=positive"),
    ),
    "label-left-out": one(
        "a.csv",
        "text,label\nsoup,pos\ntea,neg\nbread,unsure\n",
        labels=BOTH,
        dropped={"label unsure": 1},
        options=ReadOptions(drop_labels=("unsure",)),
    ),
    "empty-text": one(
        "a.csv", "text,label\nsoup,pos\n ,neg\ntea,neg\n", labels=BOTH, dropped={"empty text": 1}
    ),
    "very-long-text": one("a.csv", f"text,label\n{'soup ' * 40_000},pos\ntea,neg\n", labels=BOTH),
}


def write(folder: Path, kind: Kind) -> Path:
    """Write a kind's files; return what is to be read."""
    for name, content in kind.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / kind.source if kind.source else folder


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_of_file_gives_its_labels_or_one_sentence(name: str, tmp_path: Path) -> None:
    """What is read is counted and said; what cannot be read is refused in one line."""
    kind = KINDS[name]
    source = write(tmp_path, kind)
    if not kind.labels:
        with pytest.raises(PolliceError) as refused:
            read_dataset(str(source), kind.options)
        assert kind.says in str(refused.value)
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 1000 + len(str(source))
        return
    dataset = read_dataset(str(source), kind.options)
    assert Counter(dataset.labels) == kind.labels
    assert dict(dataset.dropped) == kind.dropped
    assert kind.says in " ".join(dataset.notes)
    assert len(dataset.notes) == len(set(dataset.notes))


ENDINGS = [*suffixes.TABLES, suffixes.LINES, *(f".csv{end}" for end in COMPRESSED_SUFFIXES), ".zip"]
BEGINNINGS = {
    ".parquet": b"PAR1", ".arrow": b"ARROW1\0\0", ".feather": b"FEA1", ".ipc": b"ARROW1\0\0",
    ".xlsx": b"PK\x03\x04", ".ods": b"PK\x03\x04", ".xls": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    ".zip": b"PK\x03\x04", ".csv.gz": b"\x1f\x8b\x08", ".csv.bz2": b"BZh9",
    ".csv.xz": b"\xfd7zXZ\0", ".csv.zst": b"\x28\xb5\x2f\xfd", ".json": b'[{"text": "',
}  # fmt: skip


@pytest.mark.parametrize("read", [read_dataset, read_texts], ids=["labelled", "texts"])
@pytest.mark.parametrize("ending", ENDINGS)
@settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=st.binary(max_size=200), begun=st.booleans())
def test_random_bytes_give_a_typed_error_or_rows(
    read: Callable[[str], object], ending: str, content: bytes, begun: bool, tmp_path: Path
) -> None:
    """No bytes under any ending give an error that is not ours."""
    path = tmp_path / f"random{ending}"
    path.write_bytes((BEGINNINGS.get(ending, b"text,label\n") if begun else b"") + content)
    with suppress(PolliceError):
        read(str(path))
