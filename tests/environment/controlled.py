"""A small environment with a control plane, without its name: for tests of the loader, and for labs."""

from __future__ import annotations

CONTROLLED = """
trust-domain: lab.example
control: {controller: controller, witness: witness}
sites:
  north:
    blocks: [10.10.0.0/16]
    routers: [{name: r1, machine: core-1}, {name: r2, machine: core-2}]
    segments:
      apps: {tier: front-end, networks: [10.10.1.0/24], machine: fabric}
      admin: {tier: administration, networks: [10.10.2.0/24], machine: fabric}
hosts:
  app: {site: north, segment: apps, services: [app]}
  control: {site: north, segment: admin, services: [controller]}
  watch: {site: north, segment: admin, services: [witness]}
  desk: {site: north, segment: admin}
  core-1-mgmt: {site: north, segment: admin, manages: [r1]}
  core-2-mgmt: {site: north, segment: admin, manages: [r2]}
  fabric-mgmt: {site: north, segment: admin, manages: [north/apps, north/admin]}
services:
  app: {protocol: tcp, ports: [8443], tls: mutual}
  controller: {protocol: tcp, ports: [9440], tls: mutual}
  witness: {protocol: tcp, ports: [9441], tls: mutual}
flows:
  - {from: "group:all", to: controller, name: nodes}
  - {from: controller, to: witness}
  - {from: "host:desk", to: controller, as: [alice, bob], name: operators}
  - {from: "host:desk", to: app}
"""
