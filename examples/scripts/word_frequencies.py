"""Counts the words of a text file.

    axion run examples/scripts/word_frequencies.py -p file=README.md
    axion run examples/scripts/word_frequencies.py -p file=README.md -p top=3

A word is a run of letters of any script, with apostrophes inside it. Upper and lower case are the same
word. The file is read as UTF-8; bytes that are not are skipped over.
"""

import collections
import functools
import itertools
import unicodedata

TYPOGRAPHIC = str.maketrans("’", "'")


def main(params, context):
    file, top = params.get("file"), params.get("top", 10)
    if not isinstance(file, str) or not file:
        raise ValueError("file must be the path of a text file, got %r" % (file,))
    if not isinstance(top, int) or isinstance(top, bool) or top < 0:
        raise ValueError("top must be a whole number, 0 or more, got %r" % (top,))

    counts = collections.Counter()
    with open(file, encoding="utf-8", errors="ignore") as lines:
        for line in lines:
            counts.update(words(line))
    # Words of the same count in alphabetical order, so that the answer is always the same.
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {
        "total": sum(counts.values()),
        "distinct": len(counts),
        "top": [[word, count] for word, count in ranked[:top]],
    }


def words(line):
    # One form for what can be written in two: é, or e and an accent; ’ or '.
    text = unicodedata.normalize("NFC", line.casefold()).translate(TYPOGRAPHIC)
    for inside, part in itertools.groupby(text, in_word):
        word = "".join(part).strip("'") if inside else ""
        if word:
            yield word


@functools.lru_cache(maxsize=4096)
def in_word(character):
    # Letters and the marks that combine with them: the vowels of many scripts are marks.
    return character == "'" or unicodedata.category(character)[0] in "LM"
