"""Writes the licences of everything that is linked into the wheel.

    python3 axion-python/wheel/licences.py OUTPUT

The crates are those that cargo links for Linux; their texts are the files that their authors ship. A text that several
crates share, line for line, is printed once. Fails if a crate states no licence, or one that deny.toml does not allow.
"""

import collections
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
OURS = "axion-"
HEAD = """\
The licences of what is linked into the native module of this package.

axion itself is under MIT OR Apache-2.0, at your choice; its licences are beside this file. The module also contains
parts of the Rust standard library (MIT OR Apache-2.0, copyright The Rust Project Developers), and these crates:
"""


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def linked():
    """Name and version of each crate in the module; procedural macros run in the compiler only."""
    tree = cargo("tree", "--locked", "--package", "axion-python", "--edges", "normal,no-proc-macro", "--prefix", "none",
                 "--features", "extension-module", "--target", "x86_64-unknown-linux-gnu", "--format", "{p}")
    found = {tuple(line.split()[:2]) for line in tree.splitlines() if line.strip()}
    return sorted((name, version.lstrip("v")) for name, version in found if not name.startswith(OURS))


def allowed():
    (listed,) = re.findall(r"^allow = \[(.*?)\]", (ROOT / "deny.toml").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return set(re.findall(r'"(.*?)"', listed))


def can_be_used(expression, allowed):
    """Whether one choice of an SPDX expression consists of allowed licences. `/` is how old crates write OR."""
    text = re.sub(r"[()]", " ", expression.replace("/", " OR "))
    return any(all(part.strip() in allowed for part in choice.split(" AND ")) for choice in text.split(" OR "))


def texts_of(package):
    folder = pathlib.Path(package["manifest_path"]).parent
    named = re.compile(r"(licen[cs]e|copying|notice|copyright|unlicense)", re.IGNORECASE)
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and named.match(path.name)]
    return [path.read_text(encoding="utf-8", errors="replace").strip() for path in files]


def main(output):
    metadata = json.loads(cargo("metadata", "--locked", "--format-version", "1"))
    packages = {(each["name"], each["version"]): each for each in metadata["packages"]}
    crates, shared, wrong = linked(), collections.defaultdict(list), []
    lines, without = [], []
    for crate in crates:
        package, title = packages[crate], "%s %s" % crate
        expression = package["license"]
        if not expression or not can_be_used(expression, allowed()):
            wrong.append("%s: %s" % (title, expression))
        authors = ", ".join(re.sub(r"\s*<.*?>", "", each) for each in package["authors"])
        lines.append("  %-28s %s%s" % (title, expression, "; " + authors if authors else ""))
        texts = texts_of(package)
        for text in texts:
            shared["\n".join(line.rstrip() for line in text.splitlines())].append(title)
        if not texts:
            without.append(title)
    if wrong:
        sys.exit("these licences are missing or not allowed by deny.toml:\n" + "\n".join(wrong))
    parts = [HEAD + "\n" + "\n".join(lines)]
    if without:
        parts.append("These ship no text of their licence, which is the one above: %s." % ", ".join(without))
    parts += ["%s\n%s\n\n%s" % ("-" * 80, ", ".join(titles), text) for text, titles in shared.items()]
    pathlib.Path(output).write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print("%s: %d crates, %d texts" % (output, len(crates), len(shared)))


if __name__ == "__main__":
    main(*sys.argv[1:])
