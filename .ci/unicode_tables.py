#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the Unicode tables of the tree from the text files of the Unicode Character Database.

    python3 .ci/unicode_tables.py UCD... [--check | --to FOLDER]

UCD is a folder as the Unicode Consortium publishes it (UnicodeData.txt and the others; Debian has one
in its package unicode-data). Several versions may be given. A table of another version than these is
made from the next newer one: of what DerivedAge.txt says was there, with the properties that CHANGED
lists as they were. Where only older ones are at hand the newest is taken, and a line says so: then the
table lacks what came later. --check compares with the tree; without an option
the headers of the tree are written. Needs clang-format.
"""
import os
import re
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
N = 0x110000
# Which version each table has: that of the part of the reference library that uses it, of the oldest
# library that we build with, or of the newest one.
PUNCTUATION = NONSPACING = OTHER = "8.0"  # its normalizers and pre-tokenizers
MARK = NORMAL = SCRIPTS = "9.0"           # its normal forms and its scripts
NUMERIC = "17.0"                          # char::is_numeric of its language
LOWER = ("15.0", "17.0")                  # since utf8proc's, as to_lowercase of its language
WORD = "16.0"                             # its regular expressions without look-ahead
PATTERN = ("14.0", "16.0")                # since the oldest PCRE2's, as its Oniguruma
CASING = "15.0"                           # Python's, which Jinja is
NEWEST = "17.0"                           # what any utf8proc may decompose
# What a character was in a version, where it became something else later: {property: {version:
# {characters: value}}}, for that version and those before.
CHANGED = {
    "category": {
        "8.0": {"1885..1886": "Lo", "A9BD": "Mc"},
        "10.0": {"111C9": "Po"},
        "11.0": {"166D": "Po", "1CF2..1CF3": "Mc"},
        "13.0": {"1734": "Mn"},
        "15.1": {"1171E": "Mn"},
        "16.0": {"295": "Ll"},
    },
    "Alphabetic": {
        "14.0": {"C04 F82..F83 11080..11081": False},
        "15.1": {"363..36F 1DD3..1DE6": False},
    },
    "Lowercase": {"14.0": {"10FC A7F2..A7F4 AB69": False}, "16.0": {"295": True}},
    "script": {"9.0": {"589 61C": "Common", "953..954": "Devanagari"}},
}


def number(version):
    return tuple(int(x) for x in version.split(".")[:2])


def lines(path):
    with open(path, encoding="utf-8") as source:
        for line in source:
            fields = [x.strip() for x in line.split("#")[0].split(";")]
            if len(fields) > 1:
                yield fields


def span(text):
    first, _, last = text.partition("..")
    return range(int(first, 16), int(last or first, 16) + 1)


class Ucd:
    """A version of the database: lists by code point, and sets."""

    def __init__(self, folder):
        self.folder = folder
        with open(os.path.join(folder, "DerivedAge.txt"), encoding="utf-8") as source:
            self.version = re.match(r"# DerivedAge-(\d+\.\d+)", source.readline()).group(1)
        self.category, self.combining = ["Cn"] * N, [0] * N
        self.decomposes, self.lower, first = set(), {}, None
        for f in lines(self.path("UnicodeData.txt")):
            c = int(f[0], 16)
            if f[1].endswith(", First>"):
                first = c
                continue
            for k in range(first or c, c + 1):
                self.category[k] = f[2]
            first = None
            self.combining[c] = int(f[3])
            if f[5]:
                self.decomposes.add(c)
            if f[13]:
                self.lower[c] = int(f[13], 16)
        self.age, self.script = [(99, 0)] * N, [""] * N
        self.fill(self.age, "DerivedAge.txt", number)
        self.fill(self.script, "Scripts.txt", str)
        self.sets = {}
        for name in "DerivedCoreProperties.txt", "PropList.txt", "emoji/emoji-data.txt":
            for f in lines(self.path(name)):
                self.sets.setdefault(f[1], set()).update(span(f[0]))
        self.unstable, self.second = set(), set()
        for f in lines(self.path("DerivedNormalizationProps.txt")):
            if f[1] == "NFC_QC":
                self.unstable.update(span(f[0]))
                self.second.update(span(f[0]) if f[2] == "M" else ())

    def path(self, name):
        return os.path.join(self.folder, name)

    def fill(self, to, name, read):
        for f in lines(self.path(name)):
            value = read(f[1])
            for c in span(f[0]):
                to[c] = value


class Version:
    """The database as it was in a version, from the nearest that is at hand."""

    def __init__(self, version, at_hand):
        newer = [u for u in at_hand if number(u.version) >= number(version)]
        self.ucd = newer[0] if newer else at_hand[-1]
        self.version = version
        if not newer:
            print("Unicode %s is not at hand: its tables have only what %s has"
                  % (version, self.ucd.version), file=sys.stderr)
        self.was = {p: {c: value
                        for v, rows in by_version.items()
                        if number(version) <= number(v) < number(self.ucd.version)
                        for spans, value in rows.items() for s in spans.split() for c in span(s)}
                    for p, by_version in CHANGED.items()}
        self.there = [age <= number(version) for age in self.ucd.age]
        self.category = self.values("category", self.ucd.category, "Cn")
        self.script = self.values("script", self.ucd.script, "")

    def values(self, name, newer, absent):
        out = [x if there else absent for x, there in zip(newer, self.there)]
        for c, value in self.was.get(name, {}).items():
            out[c] = value
        return out

    def set(self, name):
        was = self.was.get(name, {})
        return ({c for c in self.ucd.sets[name] if self.there[c] and was.get(c, True)}
                | {c for c, has in was.items() if has})

    def of(self, *categories):
        return {c for c, x in enumerate(self.category) if x.startswith(categories)}


def ranges(chars):
    out = []
    for c in sorted(chars):
        if out and c == out[-1][1] + 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def beyond_ascii(chars):
    return ranges(c for c in chars if c >= 0x80)


def table(name, comment, pairs):
    return "// %s\nstatic const struct unicode_range unicode_%s[] = {\n%s\n};\n" % (
        comment, name, "\n".join("{0x%X, 0x%X}," % tuple(p) for p in pairs))


HEAD = """// SPDX-License-Identifier: MIT
%s
// Made by .ci/unicode_tables.py.
#ifndef %s
#define %s

"""


def header(path, about, body):
    guard = path[4:].upper().replace("/", "_").replace(".", "_")
    text = HEAD % ("\n".join("// " + x for x in about.split("\n")), guard, guard) + body + "\n#endif\n"
    return subprocess.run(["clang-format", "--assume-filename=" + os.path.join(ROOT, path)],
                          input=text, capture_output=True, text=True, check=True).stdout


def new_lower(since, until):
    out = []
    for c, low in sorted(until.ucd.lower.items()):
        if since.there[c] or not until.there[c]:
            continue
        if out and c == out[-1][1] + 1 and low - c == out[-1][2] - out[-1][0] and low != c + 1:
            out[-1][1] = c
        else:
            out.append([c, c, low])
    return "\n".join("{0x%X, 0x%X, 0x%X}," % tuple(x) for x in out)


def unicode_tables(at):
    word, newest, normal = at(WORD), at(NEWEST), at(NORMAL)
    parts = [
        "#include <stdint.h>\n\nstruct unicode_range {\n    uint32_t first, last;\n};\n",
        table("word", "Alphabetic, M, Nd, Pc, Join_Control; Unicode %s." % WORD, beyond_ascii(
            word.of("M", "Nd", "Pc") | word.set("Alphabetic") | word.set("Join_Control"))),
        table("punctuation", "General category P; Unicode %s." % PUNCTUATION,
              beyond_ascii(at(PUNCTUATION).of("P"))),
        table("numeric", "Nd, Nl, No; Unicode %s." % NUMERIC, beyond_ascii(at(NUMERIC).of("N"))),
        table("mark", "M; Unicode %s." % MARK, beyond_ascii(at(MARK).of("M"))),
        table("nonspacing", "Mn; Unicode %s, with what decomposes into nothing else." % NONSPACING,
              beyond_ascii(at(NONSPACING).of("Mn"))),
        table("other", "Cc, Cf, Co, Cs; Unicode %s." % OTHER,
              beyond_ascii(at(OTHER).of("Cc", "Cf", "Co"))),
        table("whole", "What decomposes now, but not yet in Unicode %s." % NORMAL,
              beyond_ascii(c for c in newest.ucd.decomposes if not normal.there[c])),
        table("second", "Starters that can be the second of a composition, but for Hangul; Unicode %s."
              % NORMAL, ranges(starters(normal))),
        "// Lower case that Unicode 16.0 and 17.0 added: first and last in steps, and what the first"
        " becomes.\nstatic const struct {\n    uint32_t first, last, lower;\n} unicode_new_lower[] = {\n"
        "%s\n};\n" % new_lower(*map(at, LOWER)),
    ]
    return header("lib/tokenize/unicode_tables.h", """\
Classes of characters beyond ASCII, first and last of each range, in the version of Unicode that
the reference library has each in: its parts are not of one age. Facts of the Unicode Character
Database.""", "\n".join(parts))


HANGUL = range(0x1161, 0x11C3)  # vowels and finals, and what stands among them


def starters(v):
    return {c for c in v.ucd.second if not v.ucd.combining[c] and v.there[c]} - set(HANGUL)


def unicode_nfc(at):
    old = at(NORMAL)
    chars = set(HANGUL) | {c for c in old.ucd.unstable if old.there[c]}
    chars |= {c for c, k in enumerate(old.ucd.combining) if k and old.there[c]}
    rows = "\n".join("{0x%04X, 0x%04X}," % tuple(p) for p in ranges(chars))
    return header("lib/tokenize/unicode_nfc.h", """\
The characters that a text must be free of to be in NFC at sight (as the normal forms of
unicode.c, Unicode 9.0: those whose NFC_Quick_Check is not Yes or whose combining class is not
0), as first and last code points. Some more, which stand among others, do no harm. A test
computes them.""", """#include <stdint.h>

enum { UNICODE_NFC_END = 0x30000 }; // none at or above

static const uint32_t unicode_not_in_nfc[][2] = {
%s
};
""" % rows)


def unicode_scripts(at):
    v, numbers, rows = at(SCRIPTS), {}, []
    for c in range(N):
        script = v.script[c] if c != 0x20 else ""
        if script in ("Hiragana", "Katakana") or c == 0x30FC:
            script = "Han"
        if not script:
            continue
        k = numbers.setdefault(script, len(numbers) + 1)
        if rows and rows[-1][1] == c - 1 and rows[-1][2] == k:
            rows[-1][1] = c
        else:
            rows.append([c, c, k])
    return header("lib/tokenize/unicode_scripts.h", """\
Scripts of characters, by numbers of our own, as the reference library has them: those of Unicode
%s, with Han, Hiragana and Katakana as one. What is in no range, the blank among it, has none.
Facts of the Unicode Character Database.""" % SCRIPTS, """#include <stdint.h>

static const struct {
    uint32_t first, last;
    int script;
} unicode_scripts[] = {
%s
};
""" % "\n".join("{0x%X, 0x%X, %d}," % tuple(r) for r in rows))


CLASSES = ["L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "N", "P", "S", "w", "d", "Nd", "Mn", "Mc", "No", "Pd",
           "Po", "Sm", "So", "Cf", "Alphabetic", "Uppercase", "Lowercase", "Emoji", "Han", "Hiragana",
           "Katakana", "Latin", "Cyrillic", "Ideographic", "Arabic"]


def members(v, name):
    if name == "d":
        return v.of("Nd")
    if len(name) <= 2:
        return v.of(name)
    if name in v.ucd.sets:
        return v.set(name)
    return {c for c, x in enumerate(v.script) if x == name}


def written(pairs):
    return ["\\\\x{%X}" % a if a == b else "\\\\x{%X}-\\\\x{%X}" % (a, b) for a, b in pairs]


def pattern_classes(at):
    old, new = map(at, PATTERN)
    rows = []
    for name in CLASSES:
        if name == "w":  # the rewriting of patterns has these four already
            added = (new.set("Alphabetic") | new.of("M", "Nd", "Pc") | WORD_NUMBERS) - old.of(
                "L", "M", "Nd", "Pc")
        else:
            added = members(new, name) - members(old, name)
        rows.append('{"%s", %s},' % (name, packed(written(ranges(added)))))
    return header("lib/tokenize/pattern_classes.h", """\
What Unicode 15.0 to %s added to categories, properties and scripts since Unicode %s, the
version of the oldest PCRE2 that is supported: ranges for use inside a class. With a newer PCRE2
they change nothing.""" % (PATTERN[1], PATTERN[0]), """static const struct {
    const char *name;
    const char *extra;
} pattern_classes[] = {
%s
};
""" % "\n".join(rows))


WORD_NUMBERS = {0xB2, 0xB3, 0xB9, 0xBC, 0xBD, 0xBE}  # which its engine counts as of a word


def packed(parts):
    out = [""]
    for part in parts:
        if len(out[-1]) + len(part) > 80:
            out.append("")
        out[-1] += part
    return "\n".join('"%s"' % x for x in out)


def casing(at):
    v, rows = at(CASING), []
    for f in lines(v.ucd.path("SpecialCasing.txt")):
        if f[4] or not v.there[int(f[0], 16)]:
            continue
        title, upper = ([int(x, 16) for x in f[k].split()] for k in (2, 3))
        if max(len(upper), len(title)) > 1:
            rows.append("{0x%04x, {%s}, {%s}}," % (int(f[0], 16), *(
                ", ".join("0x%04x" % x for x in (m + [0, 0])[:3]) for m in (upper, title))))
    return header("lib/jinja/casing.h", """\
Characters whose upper or title case has several characters (SpecialCasing.txt of
Unicode %s, the unconditional part). 0 ends a short row.""" % CASING, """#include <stdint.h>

static const struct special_case {
    uint16_t code, upper[3], title[3];
} special_cases[] = {
%s
};
""" % "\n".join(sorted(rows)))


HEADERS = {
    "lib/tokenize/unicode_tables.h": unicode_tables,
    "lib/tokenize/unicode_nfc.h": unicode_nfc,
    "lib/tokenize/unicode_scripts.h": unicode_scripts,
    "lib/tokenize/pattern_classes.h": pattern_classes,
    "lib/jinja/casing.h": casing,
}


def main(args):
    to, check = ROOT, "--check" in args
    if "--to" in args:
        k = args.index("--to")
        to = args[k + 1]
        del args[k:k + 2]
    folders = [x for x in args if x != "--check"]
    if not folders:
        sys.exit(__doc__)
    at_hand = sorted((Ucd(x) for x in folders), key=lambda u: number(u.version))
    made = {}

    def at(version):
        return made.setdefault(version, Version(version, at_hand))

    wrong = []
    for path, make in HEADERS.items():
        text = make(at)
        if check:
            with open(os.path.join(ROOT, path), encoding="utf-8") as there:
                wrong += [path] * (there.read() != text)
            continue
        os.makedirs(os.path.dirname(os.path.join(to, path)), exist_ok=True)
        with open(os.path.join(to, path), "w", encoding="utf-8") as out:
            out.write(text)
    if wrong:
        sys.exit("not as made: " + " ".join(wrong))


if __name__ == "__main__":
    main(sys.argv[1:])
