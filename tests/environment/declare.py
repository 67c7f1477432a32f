"""A small sound environment, and edits of it whose fault is marked: what the tests of the loader work with.

An edit replaces one piece of `SOUND`. In the replacement, `§` stands right before the text at which the problem must be
told, and is removed before loading.
"""

from __future__ import annotations

import pytest

from ringfort.environment.load import load_text
from ringfort.environment.model import Environment
from ringfort.errors import DeclarationError, Problem

SOUND = """\
environment: test
trust-domain: test.example
internet: {bogons-except: [198.51.100.0/24, "2001:db8::/32"]}
backbone: {networks: [10.255.0.0/24, "fd00:ff::/64"]}
sites:
  north:
    blocks: [10.1.0.0/16, "fd00:1::/32"]
    providers:
      alpha: {networks: [198.51.100.0/28, "2001:db8:a::/64"]}
    routers: [north-r1, north-r2]
    segments:
      edge: {tier: edge, networks: [10.1.1.0/24, "fd00:1:0:1::/64"]}
      front: {tier: front-end, networks: [10.1.2.0/24, "fd00:1:0:2::/64"]}
      back: {tier: back-end, networks: [10.1.3.0/24, "fd00:1:0:3::/64"]}
      data: {tier: data, networks: [10.1.4.0/24, "fd00:1:0:4::/64"]}
      admin: {tier: administration, networks: [10.1.5.0/24, "fd00:1:0:5::/64"]}
      guests: {tier: customer, networks: [10.1.6.0/24, "fd00:1:0:6::/64"]}
  south:
    blocks: [10.2.0.0/16, "fd00:2::/32"]
    providers:
      beta: {networks: [198.51.100.16/28, "2001:db8:b::/64"]}
    routers: [south-r1]
    segments:
      back: {tier: back-end, networks: [10.2.3.0/24, "fd00:2:0:3::/64"]}
hosts:
  web: {site: north, segment: edge, count: 2, services: [web, ping]}
  app: {site: north, segment: front, services: [app], labels: {role: app}}
  orders: {segments: [north/back, south/back], services: [orders]}
  db: {site: north, segment: data, addresses: [10.1.4.10, "fd00:1:0:4::10"], services: [database]}
  admin: {site: north, segment: admin, labels: {role: administrator}}
  acme: {site: north, segment: guests, customer: acme}
groups:
  admins: {labels: {role: administrator}}
services:
  web: {protocol: tcp, ports: [443], tls: server, application: shop}
  ping: {protocol: icmp}
  app: {protocol: tcp, ports: [8443], tls: mutual, application: shop}
  orders: {protocol: tcp, ports: [9443], tls: mutual, application: shop}
  database: {protocol: tcp, ports: [5432], tls: mutual}
flows:
  - {from: internet, to: web}
  - {from: internet, to: ping}
  - {from: web, to: app}
  - {from: app, to: orders}
  - {from: orders, to: database}
  - {from: group:admins, to: database, name: operate}
published:
  - {service: web, provider: north/alpha, address: 198.51.100.4, port: 443, host: web-1}
  - {service: ping, provider: north/alpha, address: 198.51.100.4, host: web-1}
"""

MARK = "§"


def edited(*edits: tuple[str, str]) -> str:
    """`SOUND` with each (old, new) applied; every ``old`` must be there exactly once."""
    text = SOUND
    for old, new in edits:
        assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
        text = text.replace(old, new)
    return text


def sound(*edits: tuple[str, str]) -> Environment:
    """Load `SOUND` with edits."""
    return load_text(edited(*edits))


def problems_of(text: str | bytes, **included: str | bytes) -> tuple[Problem, ...]:
    """The problems that loading ``text`` tells; there must be some."""
    with pytest.raises(DeclarationError) as refused:
        load_text(text, **included)
    return refused.value.problems


def only_problem(marked: str) -> Problem:
    """The one problem of a text, which must be told at the mark."""
    before, mark, after = marked.partition(MARK)
    assert mark, "no mark in the text"
    (problem,) = problems_of(before + after)
    place = (before.count("\n") + 1, len(before) - before.rfind("\n"))
    assert (problem.origin.line, problem.origin.column) == place, problem
    return problem
