"""A small environment with a gateway and places for customers' instances, without its name: for tests and labs."""

from __future__ import annotations

GATEWAYED = """
trust-domain: gate.example
control: {controller: controller}
gateway: {service: gateway, plain: gateway-plain}
sites:
  north:
    blocks: [10.10.0.0/16, "fd00:10::/32"]
    providers: {alpha: {networks: [198.51.100.0/28]}}
    routers: [{name: r1, machine: core}]
    segments:
      admin: {tier: administration, networks: [10.10.1.0/24], machine: fabric}
      metal: {tier: hypervisor, networks: [10.10.2.0/24], machine: fabric}
      guests: {tier: customer, networks: [10.10.3.0/24], machine: fabric}
      edge: {tier: edge, networks: [10.10.4.0/24], machine: fabric}
hosts:
  acme: {site: north, segment: guests, hypervisor: metal-1, customer: acme, count: 2, services: [guests]}
  globex: {site: north, segment: guests, hypervisor: metal-2, customer: globex, services: [guests]}
  metal: {site: north, segment: metal, count: 2}
  gate: {site: north, segment: edge, services: [gateway, gateway-plain]}
  control: {site: north, segment: admin, services: [controller]}
  core-mgmt: {site: north, segment: admin, manages: [r1]}
  fabric-mgmt: {site: north, segment: admin, manages: [north/admin]}
services:
  gateway: {protocol: tcp, ports: [443]}
  gateway-plain: {protocol: tcp, ports: [80]}
  guests: {protocol: tcp, ports: [8080-8087], tls: mutual}
  controller: {protocol: tcp, ports: [9443], tls: mutual}
flows:
  - {from: "group:all", to: controller, name: nodes}
  - {from: internet, to: gateway}
  - {from: internet, to: gateway-plain}
  - {from: gateway, to: guests}
published:
  - {service: gateway, provider: north/alpha, address: 198.51.100.5}
  - {service: gateway-plain, provider: north/alpha, address: 198.51.100.5}
internet: {bogons-except: [198.51.100.0/24]}
"""
