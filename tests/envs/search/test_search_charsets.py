"""A page is read in the charset that it or its server names; no letter of it is lost."""

from pathlib import Path

import pytest

from envs.search.charset import decoded
from envs.search.pagetext import read_page
from envs.search.web.extract import extract

META = '<html><head><meta charset="{}"><title>{}</title></head><body><p>{}</p></body></html>'
OLD = '<meta http-equiv="Content-Type" content="text/html; charset={}"><title>{}</title><p>{}'
XML = '<?xml version="1.0" encoding="{}"?><html><title>{}</title><p>{}'


@pytest.mark.parametrize("form", [META, OLD, XML])
@pytest.mark.parametrize(
    ("charset", "codec", "words"),
    [
        ("utf-8", "utf-8", "Crème brûlée – 東京"),
        ("ISO-8859-1", "cp1252", "Crème “brûlée” – €5"),
        ("windows-1251", "cp1251", "Привет, мир"),
        ("gb2312", "gb18030", "北京 镕"),
        ("Shift_JIS", "cp932", "東京①"),
        ("euc-kr", "cp949", "서울 똠"),
        ("utf-16", "utf-8", "Crème"),
        ("no-such-charset", "utf-8", "Crème"),
        ("idna", "utf-8", "Crème"),
    ],
)
def test_markup_names_its_charset(tmp_path: Path, form: str, charset: str, codec: str, words: str) -> None:
    body = form.format(charset, words, words).encode(codec)
    (tmp_path / "page.html").write_bytes(body)
    assert read_page(tmp_path / "page.html") == (words, words)
    assert extract("http://x.test/", "text/html", None, body) == (words, words)


def test_the_server_is_believed_before_the_markup_and_a_mark_before_both() -> None:
    assert decoded("<meta charset=utf-8>Привет".encode("cp1251"), "windows-1251").endswith("Привет")
    assert decoded("\ufeffПривет".encode(), "windows-1251") == "Привет"


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32", "cp1252"])
def test_text_files_of_other_editors_are_read(tmp_path: Path, codec: str) -> None:
    mark = "\ufeff" if codec == "utf-16-be" else ""
    (tmp_path / "note.txt").write_bytes((mark + "Grüße aus Köln\n").encode(codec))
    assert read_page(tmp_path / "note.txt") == ("note", "Grüße aus Köln\n")


def test_one_broken_byte_costs_one_letter() -> None:
    assert decoded("Grüße ".encode() + b"\xff" + " 東京".encode()) == "Grüße \ufffd 東京"
    assert decoded(b"<meta charset=cp1251>caf\xe9", markup=False) == "<meta charset=cp1251>café"
