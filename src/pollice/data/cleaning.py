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
_TWICE = re.compile(rf"&(?:amp|#0*38|#x0*26);(?={_ENTITY.pattern[1:]})", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\xa0]+")
_INVISIBLE = re.compile("[\xad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe0e\ufe0f\ufeff]+")
_FINAL_MARKS = " .!?,;\"'\u2019\u201d\xbb\u2026"  # no ":" and no ")": they end a face
_FINAL_MARKS += "\u3001\u3002\u0964\u0965\u061f\u061b\u060c\u06d4"  # Chinese, Hindi, Arabic


def clean_html(text: str) -> str:
    """Turn breaks into blanks, take other tags away and spell entities out.

    Only tags that HTML has are taken away, so that ``a < b`` and ``<grin>`` stay. An entity that
    was encoded twice, such as ``&amp;quot;``, is spelled out twice, and no more often.
    """
    if "<" in text or "&" in text:
        # A block parts two words, an inline tag may stand within one. Entities come last: what
        # they spell, such as "&lt;b&gt;", is text and no tag.
        text = _TWICE.sub("&", _INLINE.sub("", _BLOCK.sub(" ", text)))
        text = _SPACES.sub(" ", _ENTITY.sub(lambda match: html.unescape(match[0]), text))
    return text.strip()


def normalize(text: str) -> str:
    """Return the form in which two texts count as the same.

    Without HTML, invisible characters and final punctuation, in Unicode form NFKC, case folded,
    white space single. A text of nothing but punctuation keeps it.
    """
    folded = unicodedata.normalize("NFKC", _INVISIBLE.sub("", clean_html(text))).casefold()
    words = " ".join(folded.split())
    return words.rstrip(_FINAL_MARKS) or words
