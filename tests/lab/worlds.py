"""Small environments for tests with real packets; each process names its own, so that two runs never meet."""

from __future__ import annotations

import os
from pathlib import Path

from ringfort.environment.load import load
from ringfort.environment.model import Environment

BOGONS = 'internet: {bogons-except: [203.0.113.0/24, 198.51.100.0/24, "2001:db8::/32"]}'

SMALL = (
    BOGONS
    + """
trust-domain: lab.example
sites:
  north:
    blocks: [10.10.0.0/16, "fd00:10::/32"]
    providers:
      alpha: {networks: [198.51.100.0/28, "2001:db8:a::/64"]}
      beta: {networks: [198.51.100.16/28]}
    routers: [r1, r2]
    segments:
      edge: {tier: edge, networks: [10.10.1.0/24, "fd00:10:0:1::/64"]}
      back: {tier: front-end, networks: [10.10.2.0/24, "fd00:10:0:2::/64"]}
hosts:
  web: {site: north, segment: edge, count: 2, services: [web, names, ping]}
  app: {site: north, segment: back, count: 2, services: [app]}
  admin: {site: north, segment: back}
services:
  web: {protocol: tcp, ports: [443], tls: server}
  names: {protocol: udp, ports: [53], tls: none}
  ping: {protocol: icmp}
  app: {protocol: tcp, ports: [8443, 9000-9002], tls: mutual}
flows:
  - {from: internet, to: web}
  - {from: internet, to: names}
  - {from: internet, to: ping}
  - {from: web, to: app}
  - {from: app, to: names}
  - {from: "host:admin", to: app, name: operate-app}
published:
  - {service: web, provider: north/alpha, address: 198.51.100.4, port: 443, host: web-1}
  - {service: web, provider: north/beta, address: 198.51.100.20, port: 443, host: web-2}
  - {service: web, provider: north/alpha, address: "2001:db8:a::4", port: 443, host: web-1}
  - {service: names, provider: north/beta, address: 198.51.100.20, port: 53, host: web-2}
  - {service: ping, provider: north/alpha, address: 198.51.100.4, host: web-1}
"""
)

ONE_HOST = """
trust-domain: lab.example
sites:
  north:
    blocks: [10.10.0.0/16]
    routers: [r1]
    segments:
      back: {tier: back-end, networks: [10.10.2.0/24]}
hosts:
  app: {site: north, segment: back, services: [app]}
services:
  app: {protocol: tcp, ports: [8443], tls: mutual}
"""

NO_HOST = """
trust-domain: lab.example
sites:
  north:
    blocks: [10.10.0.0/16]
    routers: [r1, r2]
    segments:
      back: {tier: back-end, networks: [10.10.2.0/24]}
"""

ONLY_IPV6 = (
    BOGONS
    + """
trust-domain: lab.example
backbone: {networks: ["fd00:ff::/64"]}
sites:
  north:
    blocks: ["fd00:10::/32"]
    providers:
      alpha: {networks: ["2001:db8:a::/64"]}
    routers: [n1]
    segments:
      edge: {tier: edge, networks: ["fd00:10:0:1::/64"]}
  south:
    blocks: ["fd00:20::/32"]
    routers: [s1, s2]
    segments:
      back: {tier: front-end, networks: ["fd00:20:0:1::/64"]}
hosts:
  web: {site: north, segment: edge, services: [web]}
  app: {site: south, segment: back, services: [app]}
services:
  web: {protocol: tcp, ports: [443], tls: server}
  app: {protocol: tcp, ports: [8443], tls: mutual}
flows:
  - {from: internet, to: web}
  - {from: web, to: app}
published:
  - {service: web, provider: north/alpha, address: "2001:db8:a::4", port: 443, host: web}
"""
)

LONGEST = "x" * 62
"""With a digit behind it, a name of 63 characters: as long as a name may be."""

LONG_NAMES = f"""
trust-domain: lab.example
sites:
  {LONGEST}1:
    blocks: [10.10.0.0/16]
    routers: [{LONGEST}2, {LONGEST}3]
    segments:
      {LONGEST}4: {{tier: back-end, networks: [10.10.2.0/24]}}
      {LONGEST}5: {{tier: back-end, networks: [10.10.3.0/24]}}
hosts:
  {LONGEST}6: {{site: {LONGEST}1, segment: {LONGEST}4, services: [{LONGEST}8]}}
  {LONGEST}7: {{site: {LONGEST}1, segment: {LONGEST}5}}
services:
  {LONGEST}8: {{protocol: tcp, ports: [8443], tls: mutual}}
flows:
  - {{from: "host:{LONGEST}7", to: {LONGEST}8, name: {LONGEST}9}}
"""

EXAMPLE = Path(__file__).parents[2] / "examples" / "shop" / "environment.yaml"


def name_of(purpose: str) -> str:
    """An environment's name that no other run of the tests uses."""
    return f"t{os.getpid()}-{purpose}"


def write(directory: Path, text: str, purpose: str, name: str = "") -> Path:
    """The file of an environment, with a name for ``purpose``."""
    path = directory / "environment.yaml"
    path.write_text(f"environment: {name or name_of(purpose)}\n{text}")
    return path


def environment(directory: Path, text: str, purpose: str) -> Environment:
    """An environment of a text, with a name for ``purpose``."""
    return load(write(directory, text, purpose))


def example(directory: Path, purpose: str) -> Environment:
    """The example under a name of its own, so that a lab somebody has up is left alone."""
    for file in EXAMPLE.parent.glob("*.yaml"):
        text = file.read_text()
        (directory / file.name).write_text(text.replace("environment: shop", f"environment: {name_of(purpose)}"))
    return load(directory / EXAMPLE.name)


GUESTS = (
    BOGONS
    + """
trust-domain: lab.example
sites:
  north:
    blocks: [10.10.0.0/16, "fd00:10::/32"]
    routers: [r1]
    segments:
      front: {tier: front-end, networks: [10.10.1.0/24, "fd00:10:0:1::/64"]}
      guests: {tier: customer, networks: [10.10.2.0/24, "fd00:10:0:2::/64"]}
      metal: {tier: hypervisor, networks: [10.10.3.0/24, "fd00:10:0:3::/64"]}
hosts:
  web: {site: north, segment: front, services: [web]}
  acme: {site: north, segment: guests, hypervisor: metal, customer: acme, services: [shop]}
  globex: {site: north, segment: guests, hypervisor: metal, customer: globex, services: [blog]}
  metal: {site: north, segment: metal}
services:
  web: {protocol: tcp, ports: [443], tls: mutual}
  shop: {protocol: tcp, ports: [8080], tls: mutual}
  blog: {protocol: tcp, ports: [8081], tls: mutual}
flows:
  - {from: web, to: shop}
  - {from: web, to: blog}
  - {from: "customer:acme", to: web}
"""
)
"""Two customers' instances on one hypervisor."""
