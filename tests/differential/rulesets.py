"""Random rulesets as nft text (hypothesis): every feature of the reader that this kernel has.

A rule is built for one flavour (IPv4 or IPv6; TCP, UDP, ICMP or any transport), so that nft accepts most of them;
values come from small pools, which the probes use too, so that matches are hit.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

V4 = ["10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.9", "10.2.0.1", "10.2.0.5"]
V4_TARGETS = ["10.3.0.1", "10.3.0.2", "10.3.0.7", "10.4.0.1", "10.4.0.8", "10.0.0.1"]
V6 = ["fd01::1", "fd01::2", "fd01::a", "fd02::1", "fd02::5"]
V6_TARGETS = ["fd03::1", "fd03::2", "fd03::b", "fd04::1", "fd00::1"]
PORTS = [22, 53, 80, 443, 1024, 8080, 40000]
INTERFACES = ["eth0", "lan0", "eth1", "lan1"]
MACS = ["02:00:00:00:00:01", "02:00:00:00:00:02"]
MARKS = [0, 1, 5, 16, 255]

Text = st.SearchStrategy[str]


def _one(*choices: str) -> Text:
    return st.sampled_from(choices)


def _of(values: list[str] | list[int]) -> Text:
    return st.sampled_from([str(value) for value in values])


def _joined(part: Text, low: int = 1, high: int = 4) -> Text:
    return st.lists(part, min_size=low, max_size=high, unique=True).map(", ".join)


@st.composite
def _range(draw: st.DrawFn, values: list[int]) -> str:
    low, high = sorted((draw(st.sampled_from(values)), draw(st.sampled_from(values))))
    return f"{low}-{high + 3}"


def _v4_value(values: list[str]) -> Text:
    start = values[0].rsplit(".", 1)[0]
    wide = start.rsplit(".", 1)[0]
    networks = [f"{start}.0/24", f"{start}.0/29", f"{wide}.0.0/16", "10.0.0.0/8", f"{start}.1-{start}.4", "0.0.0.0/1"]
    return st.one_of(_of(values), st.sampled_from(networks))


def _v6_value(values: list[str]) -> Text:
    start = values[0].removesuffix("1")
    return st.one_of(_of(values), st.sampled_from([f"{start}/64", f"{start}/126", f"{start}1-{start}7", "fd00::/8"]))


PORT = st.one_of(_of(PORTS), _range(PORTS))


def _disjoint(values: Text) -> Text:
    """A set's elements; nft merges or refuses overlaps of intervals, so points mostly."""
    return _joined(values, 1, 3)


@dataclass(frozen=True, slots=True)
class Flavour:
    """``three``: "ip", "ip6" or ""; ``four``: "tcp", "udp", "icmp" or ""."""

    three: str
    four: str
    connections: bool  # the kernel tracks connections here
    family: str


@st.composite
def _address(draw: st.DrawFn, f: Flavour) -> str:
    side = draw(_one("saddr", "daddr"))
    values = {"ipsaddr": V4, "ipdaddr": V4_TARGETS, "ip6saddr": V6, "ip6daddr": V6_TARGETS}[f.three + side]
    value = _v4_value(values) if f.three == "ip" else _v6_value(values)
    operator = draw(_one("", "", "!= "))
    what = f"{f.three} {side}"
    kind = draw(st.integers(0, 5))
    if kind <= 1:
        return f"{what} {operator}{draw(value)}"
    if kind == 2:
        return f"{what} {operator}{{ {draw(_disjoint(_of(values)))} }}"
    if kind == 3 and f.three == "ip":
        return f"{what} & {draw(_one('255.255.0.3', '255.0.0.1', '0.255.0.0'))} {draw(_one('==', '!='))} " + draw(
            _one("10.1.0.1", "10.0.0.1", "0.3.0.0", "0.1.0.0")
        )
    if kind == 4:
        return f"{what} {operator}@{'a4' if f.three == 'ip' else 'a6'}"
    return f"{what} {operator}@{'i4' if f.three == 'ip' else 'i6'}"


@st.composite
def _port(draw: st.DrawFn, f: Flavour) -> str:
    what = f"{f.four or 'th'} {draw(_one('dport', 'dport', 'sport'))}"
    operator = draw(_one("", "", "!= "))
    kind = draw(st.integers(0, 4))
    if kind <= 1:
        return f"{what} {operator}{draw(PORT)}"
    if kind == 2:
        return f"{what} {operator}{{ {draw(_disjoint(_of(PORTS)))}, {draw(_one('100-200', '50000-60000'))} }}"
    if kind == 3:
        return f"{what} {draw(_one('<', '>', '<=', '>='))} {draw(_of(PORTS))}"
    return f"{what} {operator}@p"


@st.composite
def _meta(draw: st.DrawFn, f: Flavour) -> str:
    kinds = [
        st.builds("{}iifname {}".format, _one(""), _one('"eth0"', '"eth*"', '!= "lan0"', '{ "eth0", "lan0" }', "@n")),
        st.builds("meta mark {}".format, _one("1", "5", "!= 5", "1-16", "!= 1-16", "{ 1, 5-20 }", "> 4", "@m")),
        st.builds("meta mark & {} == {}".format, _one("0x1", "0xf", "0x10"), _one("0", "1", "5", "16")),
        st.builds("meta pkttype {}".format, _one("host", "broadcast", "!= host", "{ host, multicast }")),
        st.builds("meta length {}".format, _one("< 40", "> 60", "48-60", "!= 28", "{ 28, 36-44 }")),
        st.builds("meta l4proto {}".format, _one("tcp", "!= tcp", "{ tcp, udp }", "253", "{ icmp, ipv6-icmp }")),
        st.builds("meta protocol {}".format, _one("ip", "ip6", "!= ip")),
    ]
    if f.family == "inet":
        kinds.append(st.builds("meta nfproto {}".format, _one("ipv4", "ipv6", "!= ipv4")))
    if f.family != "netdev":
        kinds.append(st.builds("oifname {}".format, _one('"eth1"', '!= "eth1"', '"lan*"', '{ "eth1", "lan1" }', "@n")))
    if f.family == "inet":
        kinds += [
            st.builds("iif {}".format, _one('"eth0"', '!= "eth0"', '{ "eth0", "lo" }')),
            st.builds("fib {}".format, _one("daddr type local", "daddr type unicast", "daddr type { local, unicast }")),
        ]
    return draw(st.one_of(kinds))


_STATES = _one(
    "ct state new",
    "ct state established,related",
    "ct state != established",
    "ct state { new, invalid }",
    "ct state invalid",
    "ct state untracked",
    "ct state new,untracked",
    "ct state ! new",
    "ct state != { established, untracked }",
    "ct direction original",
    "ct direction reply",
    "ct status dnat",
    "ct status ! dnat",
    "ct status & dnat == dnat",
    "ct mark 0",
    "ct mark != 3",
)

_TCP = _one(
    "tcp flags syn",
    "tcp flags != syn",
    "tcp flags & (syn|ack) == syn",
    "tcp flags & (fin|syn|rst|ack) != syn",
    "tcp flags syn,ack",
    "tcp flags { syn, ack, syn|ack }",
    "tcp flags ! syn,rst",
    "tcp doff 5",
    "tcp window > 100",
)
_UDP = _one("udp length > 20", "udp length 8-16", "udp length { 8, 16 }")
_ICMP4 = _one(
    "icmp type echo-request",
    "icmp type { echo-request, echo-reply }",
    "icmp type != echo-request",
    "icmp code 0",
    "icmp type destination-unreachable",
    "icmp id 80",
)
_ICMP6 = _one(
    "icmpv6 type echo-request",
    "icmpv6 type { echo-request, nd-neighbor-solicit }",
    "icmpv6 type != echo-request",
    "icmpv6 code 0",
    "icmpv6 id 80",
)
_IP = _one(
    "ip ttl < 10",
    "ip ttl { 64, 5 }",
    "ip dscp cs1",
    "ip dscp != 0",
    "ip dscp { 0, 8 }",
    "ip length > 40",
    "ip frag-off & 0x1fff != 0",
    "ip frag-off & 0x3fff == 0",
    "ip protocol tcp",
    "ip protocol != { tcp, udp }",
    "ip version 4",
    "ip hdrlength 5",
    "@nh,64,8 64",
    "@nh,96,16 0x0a01",
)
_IP6 = _one(
    "ip6 hoplimit < 10",
    "ip6 dscp cs1",
    "ip6 nexthdr tcp",
    "ip6 nexthdr != tcp",
    "ip6 nexthdr { tcp, udp, 60 }",
    "ip6 length > 20",
    "@nh,48,8 6",
)
_TH = _one("@th,16,16 80", "@th,0,8 8", "@th,18,14 80")
_ETHER = st.builds(
    "ether {}".format, _one(*[f"saddr {m}" for m in MACS], f"saddr != {MACS[0]}", f"saddr {{ {MACS[1]} }}")
)


@st.composite
def _concatenation(draw: st.DrawFn, f: Flavour) -> tuple[str, list[Text], list[Text]]:
    """The key, and for each part a point and an interval strategy."""
    if f.three == "ip":
        parts = [("ip saddr", _of(V4), _v4_value(V4)), ("ip daddr", _of(V4_TARGETS), _v4_value(V4_TARGETS))]
    else:
        parts = [("ip6 saddr", _of(V6), _v6_value(V6)), ("ip6 daddr", _of(V6_TARGETS), _v6_value(V6_TARGETS))]
    names = st.sampled_from([f'"{name}"' for name in INTERFACES])
    parts += [
        ("meta l4proto", _one("tcp", "udp"), _one("tcp", "udp")),
        (f"{f.four if f.four in ('tcp', 'udp') else 'th'} dport", _of(PORTS), PORT),
        ("iifname", names, names),
        ("meta mark", _of(MARKS), _one("0-4", "1", "5-16")),
    ]
    if f.family != "netdev":
        parts.append(("ether saddr", _of(MACS), _of(MACS)))
    chosen = draw(st.lists(st.sampled_from(range(len(parts))), min_size=2, max_size=4, unique=True))
    chosen.sort()
    key = " . ".join(parts[i][0] for i in chosen)
    return key, [parts[i][1] for i in chosen], [parts[i][2] for i in chosen]


@st.composite
def _elements(draw: st.DrawFn, parts: list[Text]) -> list[str]:
    count = draw(st.integers(1, 4))
    elements = [" . ".join(draw(part) for part in parts) for _ in range(count)]
    return list(dict.fromkeys(elements))


@st.composite
def _concat_match(draw: st.DrawFn, f: Flavour) -> str:
    key, points, intervals = draw(_concatenation(f))
    elements = draw(_elements(intervals if draw(st.booleans()) else points))
    return f"{key} {draw(_one('', '', '!= '))}{{ {', '.join(elements)} }}"


@st.composite
def _match(draw: st.DrawFn, f: Flavour) -> str:
    kinds = [_meta(f), _meta(f)]
    if f.three:
        kinds += [_address(f)] * 3 + [_IP if f.three == "ip" else _IP6, _concat_match(f)]
    if f.four in ("tcp", "udp", ""):
        kinds += [_port(f)] * 2
    if f.four == "tcp":
        kinds.append(_TCP)
    if f.four == "udp":
        kinds.append(_UDP)
    if f.four == "icmp":
        kinds += [_ICMP4 if f.three == "ip" else _ICMP6] * 3
    if not f.four:
        kinds.append(_TH)
    if f.connections:
        kinds += [_STATES] * 2
    kinds.append(_ETHER)
    return draw(st.one_of(kinds))


@st.composite
def _verdict(draw: st.DrawFn, targets: list[str]) -> str:
    plain = ["accept", "drop", "accept", "drop", "return", "continue"]
    return draw(st.sampled_from(plain + [f"{how} {name}" for name in targets for how in ("jump", "goto")]))


@st.composite
def _vmap(draw: st.DrawFn, f: Flavour, targets: list[str]) -> str:
    kind = draw(st.integers(0, 5))
    if kind == 0:
        key, elements = f"{f.four if f.four in ('tcp', 'udp') else 'th'} dport", draw(_elements([_of(PORTS)]))
    elif kind == 1:
        key, elements = "iifname", draw(_elements([st.sampled_from([f'"{name}"' for name in INTERFACES])]))
    elif kind == 2 and f.connections:
        key, elements = "ct state", draw(_elements([_one("new", "established", "invalid", "untracked")]))
    elif kind == 3 and f.three == "ip":
        return "ip saddr . th dport vmap @v4"
    elif f.three:
        key, points, intervals = draw(_concatenation(f))
        elements = draw(_elements(intervals if draw(st.booleans()) else points))
    else:
        key, elements = "meta l4proto", draw(_elements([_one("tcp", "udp", "icmp")]))
    choices = [f"{element} : {draw(_verdict(targets))}" for element in elements]
    if draw(st.integers(0, 4)) == 0 and " . " not in key:
        choices.append(f"* : {draw(_verdict(targets))}")
    return f"{key} vmap {{ {', '.join(choices)} }}"


_MANGLE = _one(
    "meta mark set 0x1",
    "meta mark set 0x5",
    "meta mark set meta mark | 0x10",
    "meta mark set meta mark & 0x1",
    "meta mark set meta mark ^ 0x5",
    "meta mark set meta mark & 0xfffffff0 | 0x1",
)


def _one_protocol(matches: list[str]) -> list[str]:
    """At most one match on the protocol: nft 1.0.6 crashes when it lists some rules that contradict themselves."""
    kept: list[str] = []
    for match in matches:
        names = any(word in match for word in ("ip protocol", "nexthdr", "meta l4proto"))
        if not names or not any("protocol" in k or "nexthdr" in k or "l4proto" in k for k in kept):
            kept.append(match)
    return kept


@st.composite
def _open_ended(draw: st.DrawFn, f: Flavour) -> str:
    """What no proof can decide: the kernel's verdict must lie between *may* and *must*."""
    kinds = ["limit rate 5/second", "limit rate over 5/second", "quota over 500 bytes", "numgen random mod 2 0"]
    if f.three == "ip" and f.family != "ip6":
        kinds += ["update @y4 { ip saddr }", "ip saddr @y4", "update @y4 { ip saddr limit rate 3/second }"]
    if f.connections:
        kinds.append("ct count over 3")
    return f"{draw(st.sampled_from(kinds))} {draw(_one('accept', 'drop', 'meta mark set 0x5', 'continue'))}"


@st.composite
def _rule(draw: st.DrawFn, f: Flavour, targets: list[str]) -> str:
    matches = _one_protocol([draw(_match(f)) for _ in range(draw(st.integers(0, 3)))])
    kind = draw(st.integers(0, 9))
    if kind <= 5:
        end = draw(_verdict(targets))
    elif kind <= 7:
        end = draw(_vmap(f, targets))
    elif kind == 8:
        changes = [_MANGLE]
        if f.connections:
            changes.append(_one("ct mark set 0x3", "ct mark set meta mark", "meta mark set ct mark"))
        if f.three == "ip":
            changes.append(_one("meta mark set ip saddr map @k4", "ip ttl set 9", "ip dscp set cs1"))
        end = draw(st.one_of(changes))
    elif draw(st.integers(0, 3)) == 0:
        end = draw(_open_ended(f))
    else:
        end = draw(_one("counter", 'log prefix "x " accept', "reject", "counter drop", ""))
        if f.family in ("bridge", "netdev"):
            end = end.replace("reject", "drop")
    return " ".join([*matches, end]) or "counter"


@st.composite
def _flavour(draw: st.DrawFn, family: str, connections: bool) -> Flavour:
    three = {"ip": "ip", "ip6": "ip6"}.get(family) or draw(_one("ip", "ip6", ""))
    four = draw(_one("tcp", "udp", "icmp", ""))
    if four == "icmp" and not three:
        four = ""
    return Flavour(three, four, connections, family)


@st.composite
def _rules(draw: st.DrawFn, family: str, connections: bool, targets: list[str], most: int) -> str:
    rules = [draw(_rule(draw(_flavour(family, connections)), targets)) for _ in range(draw(st.integers(0, most)))]
    return "\n    ".join(rules)


@st.composite
def _sets(draw: st.DrawFn, family: str, targets: list[str]) -> str:
    lines = [f"  set p {{ type inet_service; flags interval; elements = {{ {draw(_of(PORTS))}, 5000-6000 }} }}"]
    lines.append(f'  set n {{ type ifname; elements = {{ "{draw(st.sampled_from(INTERFACES))}", "other" }} }}')
    lines.append("  set m { type mark; flags interval; elements = { 1, 16-32 } }")
    if family != "ip6":
        lines.append(f"  set a4 {{ type ipv4_addr; elements = {{ {draw(_joined(_of(V4 + V4_TARGETS)))} }} }}")
        lines.append("  set i4 { type ipv4_addr; flags interval; elements = { 10.1.0.0/30, 10.4.0.0/16 } }")
        lines.append("  map k4 { type ipv4_addr : mark; elements = { 10.1.0.1 : 0x5, 10.1.0.2 : 0x7 } }")
        lines.append("  set y4 { type ipv4_addr; size 100; flags dynamic; elements = { 10.1.0.1 } }")
        pairs = [f"{draw(_of(V4))} . {draw(_of(PORTS))}" for _ in range(3)]
        choices = ", ".join(f"{pair} : {draw(_verdict(targets))}" for pair in dict.fromkeys(pairs))
        lines.append(f"  map v4 {{ type ipv4_addr . inet_service : verdict; elements = {{ {choices} }} }}")
    if family != "ip":
        lines.append(f"  set a6 {{ type ipv6_addr; elements = {{ {draw(_joined(_of(V6 + V6_TARGETS)))} }} }}")
        lines.append("  set i6 { type ipv6_addr; flags interval; elements = { fd01::/127, fd04::/64 } }")
    return "\n".join(lines)


PRIORITIES = {
    "prerouting": [-300, -150, 0],
    "input": [-10, 0, 150],
    "forward": [-10, 0, 150],
    "postrouting": [0, 50],
}


@st.composite
def _table(draw: st.DrawFn, name: str, family: str, hooks: list[str], connections: bool) -> str:
    targets = ["c0", "c1", "c2"]
    chains = [
        f"  chain c{i} {{\n    {draw(_rules(family, connections, targets[i + 1 :], 3))}\n  }}" for i in range(2, -1, -1)
    ]
    # The sets' verdicts lead to the last chain only, which uses no verdict map of its own: no circles.
    sets = draw(_sets(family, ["c2"]))
    chains[0] = chains[0].replace("vmap @v4", "vmap { 10.1.0.1 . 80 : accept }")
    for i in range(draw(st.integers(1, 2))):
        hook = draw(st.sampled_from(hooks))
        priority = draw(st.sampled_from(PRIORITIES.get(hook.split()[0], [-5, 0, 5])))
        policy = draw(_one("accept", "drop"))
        head = f"type filter hook {hook} priority {priority}; policy {policy};"
        chains.append(f"  chain b{i} {{\n    {head}\n    {draw(_rules(family, connections, targets, 6))}\n  }}")
    return f"table {family} {name} {{\n{sets}\n" + "\n".join(chains) + "\n}\n"


@st.composite
def _nat(draw: st.DrawFn) -> str:
    targets = ["dnat ip to 10.3.0.2", "dnat ip to 10.4.0.8:8080", "dnat ip6 to fd03::2", "accept", "drop"]
    targets.append(
        "dnat ip to ip daddr . tcp dport map { 10.3.0.1 . 80 : 10.4.0.1 . 8080, 10.3.0.7 . 22 : 10.3.0.1 . 22 }"
    )
    targets.append("dnat ip to ip daddr map { 10.3.0.1 : 10.4.0.1, 10.4.0.8 : 10.4.0.8 }")
    targets.append("dnat ip to tcp dport map @d4")
    rules = []
    for _ in range(draw(st.integers(1, 3))):
        end = draw(st.sampled_from(targets))
        needs = "meta l4proto tcp " if ":8080" in end or "tcp dport" in end else ""
        flavour = Flavour("ip6" if "ip6" in end else "ip", "tcp" if needs else "", True, "inet")
        matches = [draw(_match(flavour)) for _ in range(draw(st.integers(0, 2)))]
        rules.append(" ".join([*matches, needs + end]))
    body = "\n    ".join(rules)
    named = "  map d4 { type inet_service : ipv4_addr . inet_service; elements = { 443 : 10.3.0.1 . 8080 } }"
    sets = draw(_sets("inet", ["c2"]))
    head = "type nat hook prerouting priority dstnat; policy accept;"
    return (
        f"table inet nat {{\n{sets}\n{named}\n  chain c2 {{\n  }}\n  chain pre {{\n    {head}\n    {body}\n  }}\n}}\n"
    )


@st.composite
def rulesets(draw: st.DrawFn, family: str) -> str:
    """A ruleset of one or two tables for ``inet`` (with ip and ip6 tables beside it), ``bridge`` or ``netdev``."""
    if family == "bridge":
        return draw(_table("t0", "bridge", ["forward", "prerouting"], False))
    if family == "netdev":
        return draw(_table("t0", "netdev", ["ingress device eth0"], False))
    connections = draw(st.integers(0, 3)) > 0
    hooks = ["forward", "forward", "prerouting", "input", "postrouting"]
    tables = [draw(_table("t0", draw(_one("inet", "inet", "ip", "ip6")), hooks, connections))]
    if draw(st.booleans()):
        tables.append(draw(_table("t1", draw(_one("inet", "ip", "ip6")), hooks, connections)))
    if connections and draw(st.integers(0, 3)) == 0:
        tables.append(draw(_nat()))
    return "".join(tables)
