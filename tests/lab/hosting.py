"""A small environment that hosts two customers' applications, without its name, and the applications beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

APPLICATIONS = Path(__file__).parents[2] / "examples" / "applications"

PLACES = """\
  acme-1: {site: north, segment: guests, hypervisor: metal-1, customer: acme, services: [instances]}
  acme-2: {site: north, segment: guests, hypervisor: metal-2, customer: acme, services: [instances]}
  globex-1: {site: north, segment: guests, hypervisor: metal-1, customer: globex, services: [instances]}
"""
"""Of two customers, on two hypervisors; others may stand in their stead."""

HOSTED = """
trust-domain: host.example
internet: {bogons-except: [198.51.100.0/24, 203.0.113.0/24]}
control: {controller: controller, customers: customers, door: door}
gateway: {service: gateway, plain: gateway-plain}
sites:
  north:
    blocks: [10.10.0.0/16]
    providers:
      alpha: {networks: [198.51.100.0/28]}
    routers: [{name: r1, machine: core}]
    segments:
      edge: {tier: edge, networks: [10.10.1.0/24], machine: fabric}
      admin: {tier: administration, networks: [10.10.2.0/24], machine: fabric}
      metal: {tier: hypervisor, networks: [10.10.3.0/24], machine: fabric}
      guests: {tier: customer, networks: [10.10.4.0/24], machine: fabric}
hosts:
  gate: {site: north, segment: edge, services: [gateway, gateway-plain, door]}
  control: {site: north, segment: admin, services: [controller, customers]}
  desk: {site: north, segment: admin}
  core-mgmt: {site: north, segment: admin, manages: [r1]}
  fabric-mgmt: {site: north, segment: admin, manages: [north/edge, north/admin, north/metal, north/guests]}
  metal: {site: north, segment: metal, count: 2}
"""
HOSTED += (
    PLACES
    + """\
services:
  controller: {protocol: tcp, ports: [9440], tls: mutual}
  customers: {protocol: tcp, ports: [9442], tls: mutual}
  door: {protocol: tcp, ports: [9442]}
  gateway: {protocol: tcp, ports: [443]}
  gateway-plain: {protocol: tcp, ports: [80]}
  instances: {protocol: tcp, ports: [8088, "8080-8087"], tls: mutual}
flows:
  - {from: "group:all", to: controller, name: nodes}
  - {from: "host:desk", to: controller, as: [alice, bob], name: operators}
  - {from: internet, to: door}
  - {from: internet, to: gateway}
  - {from: internet, to: gateway-plain}
  - {from: door, to: customers}
  - {from: gateway, to: instances}
published:
  - {service: door, provider: north/alpha, address: 198.51.100.5, port: 9442}
  - {service: gateway, provider: north/alpha, address: 198.51.100.5, port: 443}
  - {service: gateway-plain, provider: north/alpha, address: 198.51.100.5, port: 80}
"""
)


def beside(directory: Path) -> None:
    """Put both example applications beside an environment, each as a customer's; the second with one instance."""
    for customer, name in (("acme", "guestbook"), ("globex", "hello")):
        folder = directory / "applications" / customer / name
        shutil.copytree(APPLICATIONS / name, folder)
    said = folder / "app.yaml"
    said.write_text(said.read_text().replace("instances: {count: 2}", "instances: {count: 1}"))
