"""Files as documents: what is read, what is refused and by which name and byte."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentfootprint.errors import ConfigurationError, DocumentUnreadable, InputInvalid
from agentfootprint.retrieval import Document, load, load_folder


def file(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.txt", "text"), ("a.md", "markdown"), ("A.HTML", "html"), ("a.htm", "html"), ("a", "text")],
)
def test_the_suffix_says_what_a_document_is(name: str, kind: str) -> None:
    assert Document(name, "words").kind == kind


def test_a_file_keeps_its_line_ends_so_that_offsets_are_those_of_the_file(tmp_path: Path) -> None:
    document = load(file(tmp_path, "a.txt", b"one\r\ntwo\r\n"), source="a.txt")
    assert (document.text, document.source) == ("one\r\ntwo\r\n", "a.txt")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xef\xbb\xbfgr\xc3\xbcn", "grün"),
        ("grün".encode("utf-16"), "grün"),
        ("grün".encode("utf-32"), "grün"),
        (b"", ""),
    ],
)
def test_a_byte_order_mark_says_the_encoding_and_is_not_of_the_text(
    tmp_path: Path, data: bytes, text: str
) -> None:
    assert load(file(tmp_path, "a.txt", data)).text == text


@pytest.mark.parametrize(
    "declared",
    [
        '<meta charset="iso-8859-1">',
        "<META  charset = latin1 >",
        '<meta http-equiv="Content-Type" content="text/html; charset=windows-1252">',
        '<?xml version="1.0" encoding="ISO-8859-1"?>',
    ],
)
def test_html_declares_its_encoding(tmp_path: Path, declared: str) -> None:
    path = file(tmp_path, "a.html", declared.encode() + "<p>grün</p>".encode("latin-1"))
    assert load(path).text.endswith("<p>grün</p>")


def test_what_the_caller_says_of_the_encoding_goes_before_what_the_file_declares(tmp_path: Path) -> None:
    path = file(tmp_path, "a.html", b"<meta charset=utf-8>gr\xfcn")
    assert load(path, encoding="latin-1").text.endswith("grün")


@pytest.mark.parametrize("label", ["utf-7", "rot13", "hex", "unicode_escape", "idna", "no-such", "zlib"])
def test_what_is_no_encoding_of_files_is_refused_by_name(tmp_path: Path, label: str) -> None:
    path = file(tmp_path, "a.html", f'<meta charset="{label}"><p>x')
    with pytest.raises(DocumentUnreadable, match=label) as refused:
        load(path, source="a.html")
    assert refused.value.source == "a.html"


def test_a_byte_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    with pytest.raises(DocumentUnreadable, match=r"a\.txt: byte 5 \(0xff\)") as refused:
        load(file(tmp_path, "a.txt", b"words\xffmore"), source="a.txt")
    assert refused.value.byte == 5


def test_bytes_after_a_mark_are_counted_from_the_beginning_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(DocumentUnreadable) as refused:
        load(file(tmp_path, "a.txt", b"\xef\xbb\xbfab\xff"))
    assert refused.value.byte == 5


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\x00", b"wo\x00rds", bytes(range(256)) * 10])
def test_a_binary_file_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DocumentUnreadable, match="byte"):
        load(file(tmp_path, "a.md", data))


@pytest.mark.parametrize(
    ("name", "why"),
    [("a.pdf", "suffix '.pdf'"), ("none.md", "cannot be read"), ("folder.md", "cannot be read|no file")],
)
def test_what_is_no_document_is_refused_by_name(tmp_path: Path, name: str, why: str) -> None:
    file(tmp_path, "a.pdf", b"%PDF")
    (tmp_path / "folder.md").mkdir()
    with pytest.raises(DocumentUnreadable, match=why) as refused:
        load(tmp_path / name, source=name)
    assert name in str(refused.value)


def test_a_kind_that_is_given_makes_any_suffix_readable(tmp_path: Path) -> None:
    assert load(file(tmp_path, "a.rst", "words"), kind="text").kind == "text"


def test_a_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentfootprint.retrieval.loading.MAX_BYTES", 2**20)
    with pytest.raises(DocumentUnreadable, match="more than 1 MiB"):
        load(file(tmp_path, "a.txt", b"x" * (2**20 + 1)))


def test_a_pipe_with_the_name_of_a_file_waits_for_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(DocumentUnreadable, match="no file"):
        load(tmp_path / "a.txt")


@pytest.mark.parametrize("text", ["a\x00b", "half \ud800 of one"])
def test_a_document_holds_only_what_stores_take(text: str) -> None:
    with pytest.raises(InputInvalid, match="returns"):
        Document("returns.md", text)


def test_a_document_needs_a_name_and_a_known_kind() -> None:
    with pytest.raises(InputInvalid, match="name"):
        Document(" ", "words")
    with pytest.raises(InputInvalid, match="kind='pdf'"):
        Document("a", "words", kind="pdf")  # type: ignore[arg-type]
    with pytest.raises(InputInvalid, match="must be text"):
        Document("a", b"words")  # type: ignore[arg-type]


# ── folders ─────────────────────────────────────────────────────────────────────────────────────


def names(folder: Path, **options: object) -> tuple[list[str], list[str]]:
    files, skipped = load_folder(folder, **options).files()  # type: ignore[arg-type]
    return [each.source for each in files], skipped


def test_a_folder_gives_its_documents_by_name_and_names_what_it_leaves_out(tmp_path: Path) -> None:
    for name in ("b.md", "a.txt", "deep/er/c.html", "logo.png", ".hidden.md", ".git/x.md"):
        file(tmp_path, name, "words")
    assert names(tmp_path) == (["a.txt", "b.md", "deep/er/c.html"], ["logo.png"])
    assert [each.source for each in load_folder(tmp_path)] == ["a.txt", "b.md", "deep/er/c.html"]


def test_unknown_files_can_be_refused_or_made_known(tmp_path: Path) -> None:
    file(tmp_path, "a.rst", "words")
    with pytest.raises(InputInvalid, match=r"a\.rst"):
        names(tmp_path, unknown="refuse")
    assert names(tmp_path, kinds={".rst": "text"}) == (["a.rst"], [])
    with pytest.raises(ConfigurationError, match="unknown"):
        load_folder(tmp_path, unknown="guess")  # type: ignore[arg-type]


def test_a_prefix_goes_before_each_name(tmp_path: Path) -> None:
    file(tmp_path, "a.md", "words")
    assert names(tmp_path, prefix="guide/") == (["guide/a.md"], [])


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    secret = file(tmp_path, "secret.md", "the key is 1234")
    inside = tmp_path / "docs"
    file(inside, "a.md", "words")
    (inside / "out.md").symlink_to(secret)
    (inside / "around.md").symlink_to(inside / "a.md")
    (inside / "up").symlink_to(tmp_path)
    (inside / "loop").symlink_to(inside)
    (inside / "dangling.md").symlink_to(tmp_path / "nothing.md")
    assert names(inside) == (["a.md", "around.md"], ["dangling.md", "out.md"])


def test_a_file_that_became_a_link_after_it_was_listed_is_refused(tmp_path: Path) -> None:
    secret = file(tmp_path, "secret.md", "the key is 1234")
    path = file(tmp_path / "docs", "a.md", "words")
    [listed], _ = load_folder(tmp_path / "docs").files()
    path.unlink()
    path.symlink_to(secret)
    with pytest.raises(DocumentUnreadable, match="leads out"):
        listed.load()


def test_hostile_file_names_stay_names(tmp_path: Path) -> None:
    hostile = [
        '"quoted".md',
        "new\nline.md",
        "..txt.md",
        "a b\t.md",
        "'; DROP TABLE x.md",
        "%s{0}.md",
        "\u202egnp.md",
    ]
    for name in hostile:
        file(tmp_path, name, "words")
    found, skipped = names(tmp_path)
    assert (sorted(found), skipped) == (sorted(set(hostile) - {"..txt.md"}), [])


def test_a_name_that_is_no_utf_8_is_left_out_and_named(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/a\xff.md"
    with open(path, "wb") as written:
        written.write(b"words")
    assert names(tmp_path) == ([], ["a\ufffd.md"])


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentUnreadable, match="gone"):
        names(tmp_path / "gone")
    with pytest.raises(DocumentUnreadable, match="no folder"):
        names(file(tmp_path, "a.md", "words"))
