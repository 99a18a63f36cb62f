"""Bytes of a page as text: by its byte order mark, by what its server or its own markup says, or as UTF-8."""

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAID = re.compile(rb"<(?:meta|\?xml)\b[^>]{0,500}?(?:charset|encoding)\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{2,40})", re.I)
_HEAD = 4096
_MEANT = {
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "latin-1", "latin1", "us-ascii", "ascii"), "cp1252"),
    **dict.fromkeys(("gb2312", "gbk", "x-gbk"), "gb18030"),
    **dict.fromkeys(("shift_jis", "shift-jis", "x-sjis", "windows-31j"), "cp932"),
    **dict.fromkeys(("euc-kr", "ks_c_5601-1987"), "cp949"),
}
"""What browsers take a name for: the larger set that is called so (WHATWG, Encoding)."""


def decoded(body: bytes, said: str | None = None, markup: bool = True) -> str:
    """`said`: the charset that the server named. Never fails: what is no text in any of them has U+FFFD in its place.

    Where nothing is said and no byte beyond ASCII is part of valid UTF-8, it is Windows-1252, as to browsers.
    """
    for mark, charset in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(charset, "replace")
    if said is None and markup and (found := _SAID.search(body[:_HEAD])):
        said = found[1].decode("ascii")
        if said.lower().startswith("utf-16"):  # the markup was read as ASCII, so it is not
            said = "utf-8"
    if said is not None:
        try:
            return body.decode(_MEANT.get(said.strip().lower(), said), "replace")
        except (LookupError, UnicodeError):  # a charset that nobody knows, or one that is none (`idna`, `undefined`)
            pass
    text = body.decode("utf-8", "replace")
    if "\ufffd" in text and text.replace("\ufffd", "").isascii():
        return body.decode("cp1252", "replace")
    return text
