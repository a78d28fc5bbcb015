"""What of a text is words: HTML taken away, and the form in which two texts count as the same.

Knows nothing about data sets.
"""

import html
import re
import unicodedata

_BLOCK_TAGS = "br|p|div|li|ul|ol|hr|h[1-6]|table|tr|td|th|blockquote|pre|center"
_INLINE_TAGS = "a|abbr|b|big|cite|code|del|em|font|i|img|ins|q|s|small|span|strike|strong|sub|sup|u"
_ATTRIBUTES = r"(?:\s+[a-z-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>]+))*\s*/?"
_BLOCK = re.compile(rf"</?(?:{_BLOCK_TAGS}){_ATTRIBUTES}>", re.IGNORECASE)
_INLINE = re.compile(rf"</?(?:{_INLINE_TAGS}){_ATTRIBUTES}>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,30});", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\xa0]+")


def clean_html(text: str) -> str:
    """Turn breaks into blanks, take other tags away and spell entities out.

    Only tags that HTML has are taken away, so that ``a < b`` and ``<grin>`` stay.
    """
    if "<" in text or "&" in text:
        text = _INLINE.sub("", _BLOCK.sub(" ", text))
        text = _SPACES.sub(" ", _ENTITY.sub(lambda match: html.unescape(match[0]), text))
    return text.strip()


def normalize(text: str) -> str:
    """Return the text without HTML, in Unicode form NFKC, case folded, its white space single."""
    return " ".join(unicodedata.normalize("NFKC", clean_html(text)).casefold().split())
