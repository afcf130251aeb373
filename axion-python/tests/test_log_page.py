"""docs/reference/log.md explains every line of the log, and only lines that exist."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "log.md"
LEVELS = {"error": "ERROR", "warn": "WARN", "info": "INFO", "debug": "DEBUG", "trace": "TRACE"}
CALL = re.compile(r"tracing::(error|warn|info|debug|trace)!\(")
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
# The line of the autoscaler is made in a policy, and the line of lost lines in the Python package.
SCALING = ROOT / "axion-actors" / "src" / "policy" / "scaling.rs"
RULES = ROOT / "axion-actors" / "src" / "model" / "scaling.rs"
LINES_ELSEWHERE = {("WARN", "… lines of the log were dropped"): ROOT / "axion-python" / "src" / "log.rs"}


def arguments(text, at):
    """The source between the parenthesis before `at` and the one that closes it."""
    depth, begun = 1, at
    while depth:
        if text[at] == '"':
            at = LITERAL.match(text, at).end()
            continue
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return text[begun:at - 1]


def shown(literal, constants):
    """A format string as the page writes it."""
    text = re.sub(r"\\\n\s*", "", literal).replace("\\\"", '"').replace("`", "")
    text = re.sub(r"\{([A-Z_]+)\}", lambda found: constants[found[1]].replace("`", ""), text)
    return re.sub(r"\{.*?\}", "…", text)


def constants_of(sources):
    return dict(re.findall(r'const ([A-Z_]+): &str = "(.*?)";', "\n".join(sources)))


def log_lines():
    """Level and message of each line in the sources, with the place."""
    paths = [path for path in sorted(ROOT.glob("axion-*/src/**/*.rs")) if "/tests" not in str(path)]
    sources = {path: path.read_text(encoding="utf-8") for path in paths}
    constants, found = constants_of(sources.values()), {}
    for path, text in sources.items():
        for call in CALL.finditer(text):
            literals = LITERAL.findall(arguments(text, call.end()))
            assert literals, "%s: a log line without a text" % path
            found[LEVELS[call[1]], shown(literals[-1], constants)] = path
    return found


def explained():
    """Level and message of each row of the page."""
    rows = re.findall(r"^\| ([A-Z]+) \| `(.*?)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {(level, message.replace("\\|", "|")) for level, message in rows}


def scaling_lines():
    literals = re.findall(r'format!\("(\[\{pool\}\] Scale .*?)"', SCALING.read_text(encoding="utf-8"))
    return {re.sub(r"\{.*?\}", "…", each) for each in literals}


def test_the_page_explains_every_line_and_no_other():
    told, lines = explained(), {**log_lines(), **LINES_ELSEWHERE}
    # The lines of the autoscaler are shown by an example each.
    examples = {row for row in told if "Scale" in row[1]}
    shapes = {re.sub(r"\[\w+\]", "[…]", re.sub(r"\d+", "…", message)) for _, message in examples}
    assert shapes == scaling_lines()
    # A line that is nothing but a value: of a task, of the configuration, of the autoscaler.
    anything = {(level, "…") for level in LEVELS.values()}
    missing = {key: str(path) for key, path in lines.items() if key not in told | anything}
    assert not missing, "docs/reference/log.md does not explain these"
    assert not told - set(lines) - examples - anything, "these lines of docs/reference/log.md do not exist"
    for (_, message), path in LINES_ELSEWHERE.items():
        assert message.strip("… ") in path.read_text(encoding="utf-8")


def test_the_page_explains_every_rule_of_the_autoscaler():
    source = RULES.read_text(encoding="utf-8")
    rules = set(re.findall(r'"([A-Z][A-Z ]+): ', source))
    assert rules
    told = set(re.findall(r"^\| `([A-Z ]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert told == rules


def test_a_log_line_is_found_as_it_is_written():
    text = 'tracing::warn!(%error, at = f(")"), "it {what} \\\n     goes on: {WHY}");'
    call = CALL.search(text)
    literal = LITERAL.findall(arguments(text, call.end()))[-1]
    assert shown(literal, {"WHY": "`x`"}) == "it … goes on: x"
