"""YAML, with its traps: each is refused at its place, in bounded time and memory."""

from __future__ import annotations

import resource
import time

import pytest

from ringfort.environment import limits
from ringfort.environment.load import load_text
from ringfort.environment.nodes import Mapping, Scalar, Sequence, SourceFile, ambiguity
from ringfort.environment.problems import Problems
from ringfort.environment.reading import Budget, read
from tests.environment.declare import SOUND, edited, only_problem, problems_of, sound

# By sentence: the text replaced, its replacement, and code, message and hint of what must be told.
TRAPS: dict[str, tuple[str, str, str, str, str]] = {
    "no as a name": ("customer: acme}", "customer: §no}", "ambiguous-text", "'no'", '"no", in quotes'),
    "on as a name": ("customer: acme}", "customer: §on}", "ambiguous-text", "a truth value", '"on"'),
    "yes as a key": ("  admin: {site", "  §yes: {site: north}\n  admin: {site", "ambiguous-text", "'yes'", "quotes"),
    "y as a key": ("  admin: {site", "  §y: {site: north}\n  admin: {site", "ambiguous-text", "'y'", "quotes"),
    "null as a key": (
        "  admin: {site",
        "  §null: {site: north}\n  admin: {site",
        "ambiguous-text",
        "nothing",
        "quotes",
    ),
    "a number as a key": (
        "  admin: {site",
        "  §12: {site: north}\n  admin: {site",
        "ambiguous-text",
        "a number",
        "quotes",
    ),
    "1e3 as a name": ("customer: acme}", "customer: §1e3}", "ambiguous-text", "an exponent", '"1e3"'),
    "1e3 as a number": ("attempts: 30", "attempts: §1e3", "not-a-number", "'1e3' is not a whole number", "like 1000"),
    "octal as a number": ("attempts: 30", "attempts: §0o17", "not-a-number", "octal", "decimal digits only"),
    "a leading zero": ("attempts: 30", "attempts: §017", "not-a-number", "leading zero", "decimal digits only"),
    "hexadecimal": ("attempts: 30", "attempts: §0x1f", "not-a-number", "hexadecimal", "decimal digits only"),
    "underscores": ("attempts: 30", "attempts: §1_000", "not-a-number", "is not a whole number", "decimal digits only"),
    "a plus": ("attempts: 30", "attempts: §+30", "not-a-number", "is not a whole number", "decimal digits only"),
    "a float": ("attempts: 30", "attempts: §30.0", "not-a-number", "a fraction", "decimal digits only"),
    "infinity": ("attempts: 30", "attempts: §.inf", "not-a-number", "infinity", "decimal digits only"),
    "text as a number": ("attempts: 30", 'attempts: §"30"', "not-a-number", "'30' is not a whole number", "from 1 to"),
    "a very long number": ("attempts: 30", f"attempts: §{'9' * 5000}", "not-a-number", "'999", "decimal digits only"),
    "a number as text": ("customer: acme}", "customer: §12}", "ambiguous-text", "'12' is a number", '"12"'),
    "a date as text": ("customer: acme}", "customer: §2026-11-24}", "ambiguous-text", "a date", '"2026-11-24"'),
    "nothing where a name is wanted": (
        "customer: acme}",
        "customer: §}",
        "empty-value",
        "a name is wanted",
        "remove the key",
    ),
    "null where a name is wanted": ("customer: acme}", "customer: §null}", "empty-value", "a name is wanted", "remove"),
    "a tilde where a name is wanted": ("customer: acme}", "customer: §~}", "empty-value", "a name is wanted", "remove"),
    "nothing in a list": ("ports: [5432]", "ports: [5432, §null]", "empty-value", "a port is wanted", "remove"),
    "sexagesimal ports": ("ports: [5432]", "ports: [§12:30]", "not-a-port", "a number in base 60", '"12-30"'),
    "a float as a port": ("ports: [5432]", "ports: [§54.32]", "not-a-port", "a fraction", "digits only"),
    "a port in octal": ("ports: [5432]", "ports: [§0443]", "not-a-port", "leading zero", "digits only"),
    "a MAC address in base 60": (
        "customer: acme}",
        "customer: acme, mac: §52:54:00:12:34:56}",
        "ambiguous-text",
        "base 60",
        '"52:54:00:12:34:56"',
    ),
    "an IPv4 address of two numbers": ("[10.255.0.0/24,", "[§10.255,", "ambiguous-text", "a fraction", '"10.255"'),
    "an IPv6 address that ends in a colon": (
        '"fd00:1:0:4::10"',
        "fd00:1:0:4:§:",
        "not-yaml",
        "unexpected ':'",
        "put IPv6 addresses and networks in quotes",
    ),
    "an IPv6 address that ends in a colon, on a line of its own": (
        '{site: north, segment: data, addresses: [10.1.4.10, "fd00:1:0:4::10"], services: [database]}',
        "\n    site: north\n    segment: data\n    services: [database]\n    addresses:\n      - §fd00:1:0:4::",
        "wrong-form",
        "a mapping stands where an address is wanted",
        "in quotes",
    ),
    "a tag": ("customer: acme}", "customer: §!!str acme}", "tag-not-allowed", "'tag:yaml.org,2002:str'", "remove it"),
    "a tag of Python": (
        "customer: acme}",
        "customer: §!!python/name:os.system acme}",
        "tag-not-allowed",
        "python",
        "remove it",
    ),
    "a local tag on a mapping": ("groups:\n", "groups: §!x\n", "tag-not-allowed", "'!x'", "remove it"),
    "a key twice": (
        "customer: acme}",
        "customer: acme, §customer: x}",
        "duplicate-key",
        "'customer' is written twice",
        "rename",
    ),
    "a host twice": (
        "  admin: {site",
        "  §app: {site: north, segment: admin}\n  admin: {site",
        "duplicate-key",
        "line 28",
        "rename",
    ),
    "a mapping as a key": (
        "  admin: {site",
        "  §{a: b}: c\n  admin: {site",
        "key-not-text",
        "a name is wanted",
        "quotes",
    ),
    "a list as a key": (
        "  admin: {site",
        "  ? §[a, b]\n  : c\n  admin: {site",
        "key-not-text",
        "a name is wanted",
        "quotes",
    ),
    "a merge of text": (
        "customer: acme}",
        "customer: acme, <<: §x}",
        "merge-of-no-mapping",
        "'<<' takes a mapping",
        "*NAME",
    ),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_trap(trap: str) -> None:
    old, new, code, message, hint = TRAPS[trap]
    text = SOUND.replace("sites:", "scan-detection: {attempts: 30}\nsites:", 1)
    assert text.count(old) == 1
    problem = only_problem(text.replace(old, new))
    assert problem.code == code
    assert message in problem.message
    assert hint in problem.hint


# By sentence: the file, and code, message and hint of what must be told.
FATAL: dict[str, tuple[str, str, str, str]] = {
    "an empty file": ("§", "empty-file", "the file is empty", "ringfort init"),
    "a file of comments": ("§# nothing\n", "empty-file", "the file is empty", "ringfort init"),
    "a file of nothing": ("§---\n", "empty-file", "the file is empty", "ringfort init"),
    "a file that is a list": ("§- environment: x\n", "not-a-mapping", "not a mapping", "environment: NAME"),
    "a file that is text": ("§environment\n", "not-a-mapping", "not a mapping", "environment: NAME"),
    "two documents": ("environment: x\n§---\nenvironment: y\n", "several-documents", "more than one", "'---'"),
    "a tab": ("sites:\n§\tnorth: {}\n", "not-yaml", "not YAML", "indent with spaces"),
    "a bracket that is never closed": ("sites: [a, b\n§", "not-yaml", "not YAML", "brackets"),
    "a colon too many": ("environment: a§: b\n", "not-yaml", "not YAML", "quotes"),
    "an at sign": ("environment: §@x\n", "not-yaml", "not YAML", "quotes"),
    "a control character": ("environment: a\nreason: b§\x00c\n", "not-yaml", "control character", "binary"),
    "an unknown alias": ("environment: §*x\n", "unknown-alias", "nothing is called '&x'", "first"),
    "an alias of itself": ("environment: &x [§*x]\n", "recursive-alias", "'*x' stands inside of itself", "write"),
}


@pytest.mark.parametrize("sentence", FATAL)
def test_fatal(sentence: str) -> None:
    marked, code, message, hint = FATAL[sentence]
    problem = only_problem(marked)
    assert problem.code == code
    assert message in problem.message
    assert hint in problem.hint


def test_text_in_quotes_is_text() -> None:
    environment = sound(("customer: acme}", 'customer: acme, labels: {"no": "on", "a1": "1e3", "b2": "017"}}'))
    assert environment.hosts["acme"].labels == {"no": "on", "a1": "1e3", "b2": "017"}


def test_ipv6_without_quotes_is_text_where_yaml_allows_it() -> None:
    environment = sound(('"fd00:1:0:4::10"', "fd00:1:0:4::10"))
    assert str(environment.hosts["db"].addresses[1]) == "fd00:1:0:4::10"


def test_anchors_and_merges_spare_repetition() -> None:
    environment = sound(
        ("  admin: {site: north, segment: admin, ", "  admin: &base {site: north, segment: admin, "),
        ("  acme: {site", "  second: {<<: *base, labels: {role: other}}\n  acme: {site"),
    )
    assert environment.hosts["second"].segment == "north/admin"
    assert environment.hosts["second"].labels == {"role": "other"}, "what is written wins over what is merged"


def test_earlier_merges_win_over_later_ones() -> None:
    text = "a: &a {x: 1}\nb: &b {x: 2, z: 3}\nc: {<<: [*a, *b]}\n"
    root = read(SourceFile("f", text, 0), Budget(), Problems())
    assert isinstance(root, Mapping)
    merged = root.entries["c"][1]
    assert isinstance(merged, Mapping)
    assert {key: node.text for key, (_, node) in merged.entries.items() if isinstance(node, Scalar)} == {
        "x": "1",
        "z": "3",
    }


def test_deep_nesting_is_refused_where_it_gets_too_deep() -> None:
    for opening in ("[", "{a: "):
        (problem,) = problems_of("sites: " + opening * 200)
        assert problem.code == "nested-too-deep"
        assert problem.origin.column == 8 + len(opening) * (limits.NESTING - 1)


def test_nesting_that_is_too_deep_for_the_parser_is_refused_in_the_same_words() -> None:
    for opening in ("[", "{a: "):
        (problem,) = problems_of("sites: " + opening * 100_000)
        assert problem.code == "nested-too-deep"
        assert f"more than {limits.NESTING} deep" in problem.message
        assert problem.origin.line == 1


def test_deep_nesting_by_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 100))]
    (problem,) = problems_of("\n".join(lines))
    assert problem.code == "nested-too-deep"
    assert problem.origin.line == limits.NESTING, "the root is a level too"


def bounded(text: str | bytes, seconds: float, megabytes: int) -> str:
    """The code of the first problem of ``text``, told within a time and with a growth of the peak memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    code = problems_of(text)[0].code
    assert time.perf_counter() - start < seconds
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < megabytes * 1024
    return code


def test_a_billion_laughs_cost_nothing() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    assert bounded("\n".join(lines), seconds=2, megabytes=50) == "too-large"


def test_a_billion_laughs_by_merging_cost_nothing() -> None:
    entries = ", ".join(f"k{n}: v" for n in range(1000))
    lines = [f"a: &a {{{entries}}}", f"b: [{', '.join(['{<<: *a}'] * 10_000)}]"]
    assert bounded("\n".join(lines), seconds=20, megabytes=700) == "too-large"


def test_a_file_past_the_limit_is_refused() -> None:
    assert bounded(b"#" * (limits.TOTAL_BYTES + 1), seconds=2, megabytes=100) == "file-too-large"


def test_a_million_faults_are_cut_short() -> None:
    text = edited(("groups:\n", "".join(f"x{n}: 1\n" for n in range(2000)) + "groups:\n"))
    problems = problems_of(text)
    assert len(problems) == 1001
    assert problems[-1].code == "too-many-problems"


def test_a_million_hosts_are_refused_before_they_are_made() -> None:
    lines = "".join(f"  h{n}: {{site: north, segment: guests, count: 100000}}\n" for n in range(11))
    (problem,) = problems_of(edited(("  acme: {site: north, segment: guests, customer: acme}\n", lines)))
    assert problem.code == "too-many-hosts"


def test_a_list_without_end_is_refused() -> None:
    (problem,) = problems_of(edited(("ports: [5432]", f"ports: [{'x, ' * 200_000}]")))
    assert problem.code == "too-many-items"


def test_looking_for_neighbours_of_unknown_names_is_bounded() -> None:
    """Without a bound, thousands of unknown names beside thousands of known ones cost minutes."""
    services = "".join(f"  s{n}: {{protocol: tcp, ports: [1]}}\n" for n in range(10_000))
    flows = "".join(f"  - {{from: web, to: service-{n}}}\n" for n in range(900))
    start = time.process_time()
    problems = problems_of(edited(("  ping: {p", f"{services}  ping: {{p"), ("  - {from: web, to: app}\n", flows)))
    assert time.process_time() - start < 30
    assert {problem.code for problem in problems} == {"unknown-service"}


def test_a_very_long_line_is_shown_in_part() -> None:
    (problem,) = problems_of(edited(("customer: acme}", f"customer: acme, labels: {{a: {'x' * 100_000}}}}}")))
    assert problem.code == "not-a-label"
    assert len(problem.excerpt) <= 120
    assert len(problem.message) < 200
    assert "xxx" in problem.excerpt


def test_a_terminal_is_never_given_control_characters() -> None:
    for content in (
        "environment: a\x1b[31mb\n",
        "environment: a\x9bb\n",
        'environment: "\\e[31m"\n',
        "\u200e\u202e: x\n",
    ):
        for problem in problems_of(content):
            assert (problem.message + problem.excerpt + problem.hint).isprintable()


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [
        (b"environment: a\nreason: \xe4\n", 2, 9),
        ("größe: ä\n".encode() + b"\xff\n", 2, 1),
        ("environment: ä\n".encode("utf-16"), 1, 1),
        (b"\xc3", 1, 1),
    ],
)
def test_other_encodings_are_refused_where_they_begin(content: bytes, line: int, column: int) -> None:
    (problem,) = problems_of(content)
    assert problem.code == "not-utf-8"
    assert (problem.origin.line, problem.origin.column) == (line, column)


def test_a_byte_order_mark_and_windows_line_ends_are_no_fault() -> None:
    environment = load_text("\ufeff" + SOUND.replace("\n", "\r\n"))
    assert environment == load_text(SOUND)


@pytest.mark.parametrize(
    "text", ["web-1", "10.1.2.3", "6514-6520", "north/edge", "fd00::1", "nope", "one", "e3", "a.b"]
)
def test_ordinary_text_is_not_ambiguous(text: str) -> None:
    assert ambiguity(text) == ""


def test_places_count_characters_from_one() -> None:
    root = read(SourceFile("f", 'ä: "ö"\n  # x\nb: [c, d]\n', 0), Budget(), Problems())
    assert isinstance(root, Mapping)
    key, node = root.entries["ä"]
    assert (key.place.line, key.place.column, node.place.column) == (1, 1, 4)
    _, items = root.entries["b"]
    assert isinstance(items, Sequence)
    assert [(item.place.line, item.place.column) for item in items.items] == [(3, 5), (3, 8)]
