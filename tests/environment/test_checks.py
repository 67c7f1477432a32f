"""Everything that must be refused is refused: one problem, with its code, its place, the value and a hint."""

from __future__ import annotations

import pytest

from ringfort.environment.topology import interface_name
from tests.environment.declare import SOUND, edited, only_problem, problems_of

LONG = "a" * 63

# By sentence: the edits, and code, message and hint of what must be told.
REFUSED: dict[str, tuple[tuple[tuple[str, str], ...], str, str, str]] = {
    # networks
    "a site's block over another site's": (
        (("[10.2.0.0/16,", "[§10.1.128.0/17, 10.2.0.0/16,"),),
        "networks-overlap",
        "10.1.128.0/17, block of site south, overlaps 10.1.0.0/16, block of site north",
        "environment.yaml:7:14",
    ),
    "a site's block twice": (
        (('[10.2.0.0/16, "fd00:2::/32"]', '[10.2.0.0/16, "fd00:2::/32", §10.2.0.0/16]'),),
        "networks-overlap",
        "overlaps 10.2.0.0/16",
        "environment.yaml:19:14",
    ),
    "the backbone over a site's block": (
        (("[10.255.0.0/24,", "[10.1.255.0/24,"), ("[10.1.0.0/16,", "[§10.1.0.0/16,")),
        "networks-overlap",
        "overlaps 10.1.255.0/24, backbone",
        "environment.yaml:4",
    ),
    "two segments over each other": (
        (("back: {tier: back-end, networks: [10.1.3.0/24", "back: {tier: back-end, networks: [§10.1.2.0/25"),),
        "networks-overlap",
        "10.1.2.0/25, segment north/back, overlaps 10.1.2.0/24, segment north/front",
        "the other one is at",
    ),
    "two segments over each other in IPv6": (
        (('"fd00:1:0:4::/64"', '§"fd00:1:0:3::/64"'), ('"fd00:1:0:4::10"', '"fd00:1:0:3::10"')),
        "networks-overlap",
        "fd00:1:0:3::/64, segment north/data",
        "the other one is at",
    ),
    "two providers over each other": (
        (("[198.51.100.16/28,", "[§198.51.100.8/29,"),),
        "networks-overlap",
        "198.51.100.8/29, provider south/beta, overlaps 198.51.100.0/28, provider north/alpha",
        "the other one is at",
    ),
    "a segment outside the blocks of its site": (
        (("[10.1.6.0/24,", "[§10.2.6.0/24,"),),
        "segment-outside-blocks",
        "10.2.6.0/24, segment north/guests, lies outside the blocks of site north",
        "the blocks are 10.1.0.0/16, fd00:1::/32",
    ),
    "a public block": (
        (("[10.1.0.0/16,", "[10.1.0.0/16, §8.8.0.0/16,"),),
        "public-inside",
        "8.8.0.0/16, block of site north, is not private",
        "publish services",
    ),
    "a public block in IPv6": (
        (('"fd00:2::/32"]', '"fd00:2::/32", §"2a00:1::/32"]'),),
        "public-inside",
        "2a00:1::/32",
        "fc00::/7",
    ),
    "a block that is private only in part": (
        (('"fd00:2::/32"]', '"fd00:2::/32", §192.168.0.0/15]'),),
        "public-inside",
        "192.168.0.0/15",
        "192.168.0.0/16",
    ),
    "a public backbone": (
        (("[10.255.0.0/24,", "[§8.8.8.0/24,"),),
        "public-inside",
        "8.8.8.0/24, backbone, is not private",
        "10.0.0.0/8",
    ),
    "a provider with a private network": (
        (("[198.51.100.16/28,", "[§192.168.7.0/28,"),),
        "private-provider",
        "192.168.7.0/28, provider south/beta, is private",
        "public network",
    ),
    "a provider with a network that does not exist on the internet": (
        (("[198.51.100.16/28,", "[§203.0.113.0/28,"),),
        "special-provider",
        "203.0.113.0/28, provider south/beta, is in 203.0.113.0/24",
        "bogons-except",
    ),
    "a segment without room for a host": (
        (("[10.1.6.0/24,", "[§10.1.6.0/31,"), ("  acme: {site: north, segment: guests, customer: acme}\n", "")),
        "network-too-small",
        "10.1.6.0/31",
        "at most 30 bits",
    ),
    "a segment without room for a host in IPv6": (
        (
            ('"fd00:1:0:6::/64"', '§"fd00:1:0:6::/127"'),
            ("  acme: {site: north, segment: guests, customer: acme}\n", ""),
        ),
        "network-too-small",
        "fd00:1:0:6::/127",
        "at most 126 bits",
    ),
    "a second network of one family": (
        (
            ("[10.1.6.0/24,", "[10.1.6.0/24, §10.1.7.0/24,"),
            ("  acme: {site: north, segment: guests, customer: acme}\n", ""),
        ),
        "second-network",
        "10.1.7.0/24 is a second IPv4 network of the same segment",
        "one of each family",
    ),
    "two sites without a backbone": (
        (('backbone: {networks: [10.255.0.0/24, "fd00:ff::/64"]}\n', ""), ("sites:\n  north", "§sites:\n  north")),
        "backbone-missing",
        "2 sites and no backbone",
        "backbone: {networks:",
    ),
    "a backbone with too few addresses": (
        (("[10.255.0.0/24,", "[§10.255.0.0/31,"),),
        "network-too-small",
        "has room for 0 sites; there are 2",
        "shorter prefix",
    ),
    "the inside excepted from the bogons": (
        (("[198.51.100.0/24,", "[198.51.100.0/24, §10.1.0.0/24,"),),
        "internal-exception",
        "10.1.0.0/24 overlaps 10.1.0.0/16, block of site north",
        "the other one is at",
    ),
    "loopback excepted from the bogons": (
        (("[198.51.100.0/24,", "[198.51.100.0/24, §127.0.0.0/16,"),),
        "impossible-exception",
        "127.0.0.0/16 overlaps 127.0.0.0/8",
        "remove it",
    ),
    "an ordinary network excepted from the bogons": (
        (("[198.51.100.0/24,", "[198.51.100.0/24, §8.8.8.0/24,"),),
        "exception-without-effect",
        "8.8.8.0/24",
        "remove it",
    ),
    # addresses
    "an address outside its segment": (
        (("[10.1.4.10,", "[§10.1.9.10,"),),
        "address-outside",
        "10.1.9.10 lies outside segment north/data",
        "the segment has 10.1.4.0/24 and fd00:1:0:4::/64",
    ),
    "the gateway's address": (
        (("[10.1.4.10,", "[§10.1.4.1,"),),
        "address-reserved",
        "10.1.4.1 of 'db' is the gateway's address",
        "10.1.4.2 is free",
    ),
    "the network's own address": (
        (('"fd00:1:0:4::10"', '§"fd00:1:0:4::"'),),
        "address-reserved",
        "fd00:1:0:4:: of 'db' is the network's own address",
        "fd00:1:0:4::2 is free",
    ),
    "the broadcast address": (
        (("[10.1.4.10,", "[§10.1.4.255,"),),
        "address-reserved",
        "10.1.4.255 of 'db' is the broadcast address",
        "10.1.4.2 is free",
    ),
    "two addresses of one family": (
        (('"fd00:1:0:4::10"', "§10.1.4.11"),),
        "two-addresses",
        "a second IPv4 address",
        "one of each family",
    ),
    "an address of another host": (
        (("  admin: {site", "  db2: {site: north, segment: data, addresses: [§10.1.4.10]}\n  admin: {site"),),
        "duplicate-address",
        "10.1.4.10 of 'db2' is also the address of 'db'",
        "10.1.4.2 is free",
    ),
    "an address that an earlier host took": (
        (("  db: {site", "  dx: {site: north, segment: data}\n  db: {site"), ("[10.1.4.10,", "[§10.1.4.2,")),
        "address-taken",
        "10.1.4.2 of 'db' is held by 'dx', which comes earlier",
        "10.1.4.3 is free; or move 'db' above 'dx'",
    ),
    "addresses that run out of the segment": (
        (("[10.1.4.10,", "[§10.1.4.250,"), ("db: {site: north,", "db: {count: 9, site: north,")),
        "address-reserved",
        "10.1.4.255 of 'db-6' is the broadcast address",
        "10.1.4.2 is free",
    ),
    "more hosts than a segment has addresses": (
        (("  acme: {site: north,", "  §acme: {site: north, count: 260,"),),
        "segment-full",
        "10.1.6.0/24 of segment north/guests has no address left for 'acme-254'",
        "larger network",
    ),
    "the MAC address of another host": (
        (
            ("  admin: {site", '  x1: {site: north, segment: admin, mac: "52:54:00:00:00:01"}\n  admin: {site'),
            ("  acme: {site: north,", '  acme: {site: north, mac: §"52:54:00:00:00:01",'),
        ),
        "duplicate-mac",
        "52:54:00:00:00:01 of 'acme' is also the MAC address of x1",
        "derived from the name",
    ),
    "a group MAC address": (
        (("  acme: {site: north,", '  acme: {site: north, mac: §"01:00:5e:00:00:01",'),),
        "mac-not-unicast",
        "01:00:5e:00:00:01",
        "second digit must be even",
    ),
    "one MAC address for several hosts": (
        (("  acme: {site: north,", '  acme: {site: north, count: 2, mac: §"52:54:00:00:00:01",'),),
        "mac-of-several",
        "one MAC address for several hosts",
        "leave it out",
    ),
    # flows
    "the internet to a mutual service": (
        (
            ("tls: server, application: shop}", "tls: mutual, application: shop}"),
            ("internet, to: web}", "internet, to: §web}"),
        ),
        "internet-mutual",
        "'web' asks its callers for a certificate",
        "tls: server",
    ),
    "a flow from the internet that nothing publishes": (
        (
            ("  - {service: ping, provider: north/alpha, address: 198.51.100.4, host: web-1}\n", ""),
            ("  - {from: internet, to: ping}", "  - §{from: internet, to: ping}"),
        ),
        "flow-not-published",
        "'ping' is not published anywhere",
        "{service: ping, provider: ..., address: ...}",
    ),
    "a flow across a site boundary without TLS": (
        (("[9443], tls: mutual", "[9443]"), ("  - {from: app, to: orders}", "  - §{from: app, to: orders}")),
        "boundary-without-tls",
        "'app' calls 'orders-south-back' across a site boundary (north to south) without TLS",
        "write tls: mutual (or server) at service 'orders'",
    ),
    "a flow across a cluster boundary without TLS": (
        (
            ("[5432], tls: mutual", "[5432], tls: none"),
            ("[north/back, south/back]", "[north/back]"),
            ("data: {tier: data,", "data: {tier: data, cluster: vault,"),
            ("  - {from: orders,", "  - §{from: orders,"),
            ("  - {from: group:admins, to: database, name: operate}\n", ""),
        ),
        "boundary-without-tls",
        "'orders-north-back' calls 'db' across a cluster boundary (main to vault) without TLS",
        "tls: mutual",
    ),
    "a flow across a site boundary over UDP": (
        (
            ("{protocol: tcp, ports: [9443], tls: mutual, application: shop}", "{protocol: udp, ports: [9443]}"),
            ("  - {from: app, to: orders}", "  - §{from: app, to: orders}"),
        ),
        "boundary-without-tls",
        "across a site boundary",
        "udp cannot have TLS here",
    ),
    "a back end open to the edge": (
        (("  - {from: app, to: orders}", "  - §{from: web, to: orders}"),),
        "back-end-open",
        "'web-1' (edge) may not call 'orders-north-back' (back-end)",
        "back-end hosts answer administration, back-end, front-end hosts only",
    ),
    "a back end open to a customer": (
        (("  - {from: app, to: orders}", "  - §{from: customer:acme, to: orders}"),),
        "back-end-open",
        "'acme' (customer) may not call",
        "front-end",
    ),
    "a back end open to another application's front end": (
        (
            ("[8443], tls: mutual, application: shop", "[8443], tls: mutual, application: other"),
            ("  - {from: app, to: orders}", "  - §{from: app, to: orders}"),
        ),
        "back-end-open",
        "'app' does not belong to application 'shop' of 'orders'",
        "its own application",
    ),
    "a back end open to a host of another application": (
        (
            ("[8443], tls: mutual, application: shop", "[8443], tls: mutual, application: other"),
            ("  - {from: app, to: orders}", "  - §{from: host:app, to: orders}"),
        ),
        "back-end-open",
        "'app' does not belong to application 'shop'",
        "its own application",
    ),
    "data open to a front end": (
        (("  - {from: orders, to: database}", "  - §{from: app, to: database}"),),
        "data-open",
        "'app' (front-end) may not call 'db' (data)",
        "administration, back-end, data",
    ),
    "a service that nobody serves": (
        (
            ("services: [database]", "services: []"),
            ("  - {from: group:admins, to: database, name: operate}\n", ""),
            ("orders, to: database}", "orders, to: §database}"),
        ),
        "service-without-hosts",
        "no host serves 'database'",
        "services: [database]",
    ),
    "a flow from a service that nobody serves": (
        (
            ("  ping: {p", "  none: {protocol: tcp, ports: [1]}\n  ping: {p"),
            ("  - {from: web, to: app}", "  - {from: web, to: app}\n  - {from: §none, to: app}"),
        ),
        "flow-without-callers",
        "'none' stands for no host",
        "remove it",
    ),
    "a flow from an empty segment": (
        (
            ("  acme: {site: north, segment: guests, customer: acme}\n", ""),
            ("  - {from: web, to: app}", "  - {from: web, to: app}\n  - {from: §segment:north/guests, to: app}"),
        ),
        "flow-without-callers",
        "'segment:north/guests' stands for no host",
        "remove it",
    ),
    "a flow from a host to itself only": (
        (("  - {from: web, to: app}", "  - {from: web, to: app}\n  - {from: §app, to: app}"),),
        "flow-without-callers",
        "the only caller, 'app', is the only host that serves 'app'",
        "remove it",
    ),
    "a flow twice": (
        (("  - {from: web, to: app}", "  - {from: web, to: app}\n  - §{from: service:web, to: app}"),),
        "duplicate-flow",
        "there is a flow 'web-to-app' already, at environment.yaml:43:5",
        "another 'name'",
    ),
    "hosts that share no family": (
        (
            (
                'front: {tier: front-end, networks: [10.1.2.0/24, "fd00:1:0:2::/64"]}',
                "front: {tier: front-end, networks: [10.1.2.0/24]}",
            ),
            (
                'edge: {tier: edge, networks: [10.1.1.0/24, "fd00:1:0:1::/64"]}',
                'edge: {tier: edge, networks: ["fd00:1:0:1::/64"]}',
            ),
            ("  - {from: web, to: app}", "  - §{from: web, to: app}"),
            ("198.51.100.4, port", '"2001:db8:a::4", port'),
            ("198.51.100.4, host", '"2001:db8:a::4", host'),
        ),
        "no-common-family",
        "'web-1' has only IPv6, 'app' only IPv4",
        "one family",
    ),
    "hosts on two sites whose family the backbone does not carry": (
        (
            ('[10.255.0.0/24, "fd00:ff::/64"]', "[10.255.0.0/24]"),
            ("  - {from: app, to: orders}", "  - §{from: app, to: orders}"),
            ("  - {from: orders, to: database}\n", ""),
        ),
        "backbone-family",
        "'app' and 'orders-south-back' speak IPv6, which the backbone does not carry",
        "IPv6 network",
    ),
    # services
    "TLS over icmp": (
        (("ping: {protocol: icmp}", "ping: {protocol: icmp, tls: §server}"),),
        "tls-without-tcp",
        "tls: server needs protocol tcp; 'ping' speaks icmp",
        "tls: none",
    ),
    "mutual TLS over udp": (
        (("{protocol: tcp, ports: [5432], tls: mutual}", "{protocol: udp, ports: [5432], tls: §mutual}"),),
        "tls-without-tcp",
        "tls: mutual needs protocol tcp; 'database' speaks udp",
        "protocol: tcp",
    ),
    "ports of icmp": (
        (("ping: {protocol: icmp}", "ping: {protocol: icmp, ports: §[7]}"),),
        "ports-of-icmp",
        "icmp has no ports",
        "remove 'ports'",
    ),
    "tcp without ports": (
        (("  ping: {p", "  §none: {protocol: tcp}\n  ping: {p"),),
        "ports-missing",
        "'none' has no ports",
        "ports: [443]",
    ),
    "an empty list of ports": (
        (("  ping: {p", "  none: {protocol: tcp, ports: §[]}\n  ping: {p"),),
        "ports-missing",
        "'none' has no ports",
        "ports: [443]",
    ),
    "ports over each other": (
        (("ports: [5432]", 'ports: ["5430-5440", §5432]'),),
        "ports-overlap",
        "the ports 5430-5440 and 5432 of 'database' overlap",
        "each port once",
    ),
    "two services of a host on one port": (
        (
            ("services: [app],", "services: [app, §api],"),
            ("  ping: {p", '  api: {protocol: tcp, ports: ["8000-9000"]}\n  ping: {p'),
        ),
        "port-taken",
        "'app' serves 'app' and 'api' on the same port",
        "another port or host",
    ),
    "a service listed twice": (
        (("services: [app],", "services: [app, §app],"),),
        "duplicate-service",
        "'app' is listed twice",
        "remove one",
    ),
    "the identity of another service": (
        (("[5432], tls: mutual", "[5432], tls: mutual, identity: §spiffe://test.example/service/app"),),
        "duplicate-identity",
        "spiffe://test.example/service/app is also the identity of service 'app'",
        "of its own",
    ),
    "the identity of a host": (
        (("[5432], tls: mutual", "[5432], tls: mutual, identity: §spiffe://test.example/node/app"),),
        "not-an-identity",
        "its path is not service/NAME",
        "service/payments",
    ),
    "an identity of another trust domain": (
        (("[5432], tls: mutual", "[5432], tls: mutual, identity: §spiffe://other.example/service/db"),),
        "foreign-identity",
        "spiffe://other.example/service/db is not in the trust domain test.example",
        "write spiffe://test.example/service/db",
    ),
    "an identity that is no SPIFFE ID": (
        (("[5432], tls: mutual", "[5432], tls: mutual, identity: §https://test.example/db"),),
        "not-an-identity",
        "'https://test.example/db' is not a SPIFFE ID",
        "spiffe://",
    ),
    "an identity without a path": (
        (("[5432], tls: mutual", "[5432], tls: mutual, identity: §spiffe://test.example"),),
        "not-an-identity",
        "its path is not valid",
        "spiffe://",
    ),
    "an identity with an empty step": (
        (("[5432], tls: mutual", "[5432], tls: mutual, identity: §spiffe://test.example/a//b"),),
        "not-an-identity",
        "its path is not valid",
        "spiffe://",
    ),
    "an identity with a relative step": (
        (("[5432], tls: mutual", "[5432], tls: mutual, identity: §spiffe://test.example/a/../b"),),
        "not-an-identity",
        "its path is not valid",
        "spiffe://",
    ),
    "a service called internet": (
        (("  ping: {p", "  §internet: {protocol: tcp, ports: [1]}\n  ping: {p"),),
        "reserved-name",
        "no service may be called 'internet'",
        "rename it",
    ),
    # published services
    "a published service without a flow from the internet": (
        (("  - {from: internet, to: ping}\n", ""), ("{service: ping, provider", "{service: §ping, provider")),
        "published-without-flow",
        "no flow lets the internet call 'ping'",
        "{from: internet, to: ping}",
    ),
    "a published address of another provider": (
        (("address: 198.51.100.4, port", "address: §198.51.100.20, port"),),
        "address-outside-provider",
        "198.51.100.20 lies outside the networks of provider north/alpha",
        "198.51.100.0/28",
    ),
    "a published address that is the provider's router's": (
        (("address: 198.51.100.4, port", "address: §198.51.100.1, port"),),
        "address-reserved",
        "198.51.100.1 is the address of the provider's router",
        "from 198.51.100.3 on",
    ),
    "a published address that is the site's router's": (
        (("address: 198.51.100.4, port", 'address: §"2001:db8:a::2", port'),),
        "address-reserved",
        "2001:db8:a::2 is the address of the site's router",
        "from 2001:db8:a::3 on",
    ),
    "a published address that is the network's": (
        (("address: 198.51.100.4, port", "address: §198.51.100.0, port"),),
        "address-reserved",
        "198.51.100.0 is the network's own address",
        "from 198.51.100.3 on",
    ),
    "a published address that is the broadcast address": (
        (("address: 198.51.100.4, port", "address: §198.51.100.15, port"),),
        "address-reserved",
        "198.51.100.15 is the broadcast address",
        "from 198.51.100.3 on",
    ),
    "an address and port published twice": (
        (
            (
                "published:\n",
                "published:\n  - {service: web, provider: north/alpha, address: 198.51.100.4, host: web-2}\n",
            ),
            ("port: 443, host: web-1", "port: §443, host: web-1"),
        ),
        "published-twice",
        "198.51.100.4 tcp port 443 is published twice",
        "the first one is at",
    ),
    "ping published twice at one address": (
        (
            (
                "published:\n",
                "published:\n  - {service: ping, provider: north/alpha, address: 198.51.100.4, host: web-2}\n",
            ),
            ("198.51.100.4, host: web-1}", "§198.51.100.4, host: web-1}"),
        ),
        "published-twice",
        "198.51.100.4 icmp is published twice",
        "the first one is at",
    ),
    "a service published at another site": (
        (
            (
                "provider: north/alpha, address: 198.51.100.4, port",
                "provider: §south/beta, address: 198.51.100.20, port",
            ),
        ),
        "published-across-sites",
        "'web-1' is at site north, provider south/beta is not",
        "north/alpha",
    ),
    "a published address of a family that the host lacks": (
        (
            (
                'edge: {tier: edge, networks: [10.1.1.0/24, "fd00:1:0:1::/64"]}',
                "edge: {tier: edge, networks: [10.1.1.0/24]}",
            ),
            ("address: 198.51.100.4, port", 'address: §"2001:db8:a::4", port'),
        ),
        "no-common-family",
        "'web-1' has no IPv6 address",
        "its family",
    ),
    "a published service without a host when several serve it": (
        (
            (
                "  - {service: ping, provider: north/alpha, address: 198.51.100.4, host: web-1}",
                "  - §{service: ping, provider: north/alpha, address: 198.51.100.4}",
            ),
        ),
        "host-missing",
        "'ping' is served by 2 hosts",
        "one of web-1, web-2",
    ),
    "a published service of a host that does not serve it": (
        (("198.51.100.4, host: web-1}", "198.51.100.4, host: §app}"),),
        "host-not-serving",
        "host 'app' does not serve 'ping'",
        "web-1, web-2",
    ),
    "a port of icmp published": (
        (("198.51.100.4, host: web-1}", "198.51.100.4, port: §7, host: web-1}"),),
        "ports-of-icmp",
        "icmp has no ports",
        "remove 'port'",
    ),
    "a published port that the service lacks": (
        (("port: 443, host", "port: 443, target-port: §444, host"),),
        "unknown-port",
        "'web' has no port 444",
        "443",
    ),
    "a published service of which the port is open": (
        (
            ("ports: [443]", "ports: [443, 444]"),
            (
                "  - {service: web, provider: north/alpha, address: 198.51.100.4, port: 443,",
                "  - §{service: web, provider: north/alpha, address: 198.51.100.4,",
            ),
        ),
        "port-missing",
        "'web' has more than one port",
        "443, 444",
    ),
    # names
    "a router's name twice": (
        (("[south-r1]", "[§north-r1]"),),
        "duplicate-name",
        "a router 'north-r1' exists already",
        "different names",
    ),
    "a host called like a router": (
        (("  admin: {site", "  §north-r1: {segment: back, site: south}\n  admin: {site"),),
        "duplicate-name",
        "'north-r1' is the name of a host and of a router",
        "rename one",
    ),
    "two entries that make one host": (
        (("  admin: {site", "  §web-1: {site: north, segment: admin}\n  admin: {site"),),
        "duplicate-name",
        "there is a host 'web-1' already",
        "rename it",
    ),
    "a segment and a provider with one name on a router": (
        (
            ("      alpha: {networks", "      §guests: {networks"),
            (
                "provider: north/alpha, address: 198.51.100.4, port",
                "provider: north/guests, address: 198.51.100.4, port",
            ),
            (
                "provider: north/alpha, address: 198.51.100.4, host",
                "provider: north/guests, address: 198.51.100.4, host",
            ),
        ),
        "interface-collision",
        "provider 'guests' and segment 'guests' would both be interface 'guests' of the routers of site north",
        "rename one",
    ),
    "a name that is too long": (
        (("  ping: {p", f"  §{LONG}a: {{protocol: tcp, ports: [1]}}\n  ping: {{p"),),
        "name-too-long",
        "has 64 characters",
        "at most 63",
    ),
    "a name that is too long once it is numbered": (
        (("  admin: {site", f"  §{LONG[2:]}: {{site: north, segment: admin, count: 10}}\n  admin: {{site"),),
        "name-too-long",
        "which has 64 characters",
        "shorten",
    ),
    "a flow's name that is too long": (
        (
            ("  ping: {p", f"  {LONG}: {{protocol: tcp, ports: [1]}}\n  ping: {{p"),
            ("services: [app],", f"services: [app, {LONG}],"),
            ("  - {from: web, to: app}", f"  - {{from: web, to: app}}\n  - §{{from: web, to: {LONG}}}"),
        ),
        "name-too-long",
        "which is too long",
        "give the flow a 'name'",
    ),
    "a name in upper case": (
        (("  admin: {site", "  §Admin: {site"),),
        "not-a-name",
        "'Admin' is not a name",
        "write 'admin'",
    ),
    "a name that ends with a hyphen": (
        (("  ping: {p", "  §x-: {protocol: tcp, ports: [1]}\n  ping: {p"),),
        "not-a-name",
        "'x-' is not a name",
        "write 'x'",
    ),
    "a name that begins with a digit": (
        (("  ping: {p", "  §1a: {protocol: tcp, ports: [1]}\n  ping: {p"),),
        "not-a-name",
        "first a letter",
        "for example 'web-1'",
    ),
    "a machine that is no name": (
        (("customer: acme}", "customer: acme, machine: §Blade_7}"),),
        "not-a-name",
        "'Blade_7' is not a name",
        "write 'blade-7'",
    ),
    # unknown names
    "an unknown site": (
        (("acme: {site: north,", "acme: {site: §nort,"),),
        "unknown-site",
        "there is no site 'nort'",
        "did you mean 'north'?",
    ),
    "an unknown segment": (
        (("segment: guests", "segment: §guest"),),
        "unknown-segment",
        "site north has no segment 'guest'",
        "did you mean 'guests'?",
    ),
    "an unknown segment in a list": (
        (("[north/back, south/back]", "[north/back, §south/bak]"),),
        "unknown-segment",
        "site south has no segment 'bak'",
        "did you mean 'back'?",
    ),
    "an unknown service at a host": (
        (("customer: acme}", "customer: acme, services: [§databse]}"),),
        "unknown-service",
        "there is no service 'databse'",
        "did you mean 'database'?",
    ),
    "an unknown service in a flow": (
        (("{from: web, to: app}", "{from: web, to: §ap}"),),
        "unknown-service",
        "there is no service 'ap'",
        "did you mean 'app'?",
    ),
    "an unknown source": (
        (("{from: web, to: app}", "{from: §wep, to: app}"),),
        "unknown-service",
        "there is no service 'wep'",
        "did you mean 'web'?",
    ),
    "an unknown kind of source": (
        (("{from: web, to: app}", "{from: §hosts:web-1, to: app}"),),
        "unknown-source",
        "'hosts' is no kind of source",
        "host:NAME",
    ),
    "an unknown group": (
        (("group:admins", "§group:admin"),),
        "unknown-group",
        "there is no group 'admin'",
        "did you mean 'admins'?",
    ),
    "an unknown host in a flow": (
        (("{from: web, to: app}", "{from: §host:web, to: app}"),),
        "unknown-host",
        "there is no host 'web'",
        "'web' is several hosts: web-1, web-2; make a group of them",
    ),
    "an unknown segment in a flow": (
        (("{from: web, to: app}", "{from: §segment:north/edg, to: app}"),),
        "unknown-segment",
        "there is no segment 'north/edg'",
        "did you mean 'north/edge'?",
    ),
    "an unknown customer": (
        (("{from: web, to: app}", "{from: §customer:acne, to: app}"),),
        "unknown-customer",
        "there is no customer 'acne'",
        "did you mean 'acme'?",
    ),
    "an unknown host in a group": (
        (("admins: {labels: {role: administrator}}", "admins: {hosts: [admin, §amdin]}"),),
        "unknown-host",
        "there is no host 'amdin'",
        "did you mean 'admin'?",
    ),
    "a label that no host has": (
        (("admins: {labels: {role: administrator}}", "admins: {labels: {role: §adminstrator}, hosts: [admin]}"),),
        "unknown-label",
        "no host has the label role: adminstrator",
        "did you mean 'administrator'?",
    ),
    "a group that says nothing": (
        (("admins: {labels: {role: administrator}}", "admins: {hosts: [admin]}\n  §none: {}"),),
        "empty-group",
        "group 'none' says nothing",
        "'labels' or 'hosts'",
    ),
    "an unknown provider": (
        (("provider: north/alpha, address: 198.51.100.4, port", "provider: §north/alfa, address: 198.51.100.4, port"),),
        "unknown-provider",
        "there is no provider 'north/alfa'",
        "did you mean 'north/alpha'?",
    ),
    "an unknown host of a published service": (
        (("198.51.100.4, host: web-1}", "198.51.100.4, host: §web-9}"),),
        "unknown-host",
        "there is no host 'web-9'",
        "did you mean 'web-2'?",
    ),
    # the form
    "an unknown key of the file": (
        (("groups:\n", "§grops: {}\ngroups:\n"),),
        "unknown-key",
        "'grops' is not a key that is known here",
        "did you mean 'groups'?",
    ),
    "an unknown key of a host": (
        (("customer: acme}", "§custmer: acme}"),),
        "unknown-key",
        "'custmer' is not a key that is known here",
        "did you mean 'customer'?",
    ),
    "an unknown key of a segment": (
        (("guests: {tier: customer,", "guests: {§teir: customer, tier: customer,"),),
        "unknown-key",
        "'teir' is not a key that is known here",
        "did you mean 'tier'?",
    ),
    "a missing key": (
        (("guests: {tier: customer, ", "§guests: {"), ("  acme: {site: north, segment: guests, customer: acme}\n", "")),
        "missing-key",
        "'tier' is missing",
        "tier: What the segment is for",
    ),
    "a host without a segment": (
        (("  acme: {site: north, segment: guests,", "  §acme: {site: north,"),),
        "missing-key",
        "'segment' is missing",
        "'site' and 'segment', or 'segments'",
    ),
    "a host with a segment and segments": (
        (("  acme: {site: north, segment: guests,", "  acme: {site: north, segments: §[north/guests],"),),
        "segment-twice",
        "'segments' and 'site'",
        "either",
    ),
    "a segment listed twice": (
        (("[north/back, south/back]", "[north/back, south/back, §north/back]"),),
        "duplicate-segment",
        "'north/back' is listed twice",
        "remove one",
    ),
    "an unknown tier": (
        (
            ("guests: {tier: customer,", "guests: {tier: §customers,"),
            ("  acme: {site: north, segment: guests, customer: acme}\n", ""),
        ),
        "unknown-word",
        "'customers' is none of edge, front-end",
        "did you mean 'customer'?",
    ),
    "an unknown protocol": (
        (("  ping: {p", "  x: {protocol: §tpc, ports: [1]}\n  ping: {p"),),
        "unknown-word",
        "'tpc' is none of tcp, udp, icmp",
        "did you mean 'tcp'?",
    ),
    "three routers": (
        (("routers: [south-r1]", "routers: §[south-r1, south-r2, south-r3]"),),
        "wrong-number",
        "'routers' has 3 entries: at most 2 allowed",
        "",
    ),
    "a list where a name is wanted": (
        (("customer: acme}", "customer: §[acme]}"),),
        "wrong-form",
        "a list stands where a name is wanted",
        "without brackets",
    ),
    "a name where a list is wanted": (
        (("customer: acme}", "customer: acme, services: §app}"),),
        "wrong-form",
        "'app' stands where a list is wanted",
        "[VALUE, ...]",
    ),
    "a name where a mapping is wanted": (
        (("  acme: {site: north, segment: guests, customer: acme}", "  acme: §north"),),
        "wrong-form",
        "'north' stands where a mapping is wanted",
        "{KEY: VALUE, ...}",
    ),
    "a section that is a list": (
        (
            ("groups:\n  admins: {labels: {role: administrator}}", "groups:\n  §- admins"),
            ("  - {from: group:admins, to: database, name: operate}\n", ""),
        ),
        "wrong-form",
        "'groups' is a mapping",
        "NAME: {...}",
    ),
    "a count of nothing": (
        (("  acme: {site: north,", "  acme: {site: north, count: §0,"),),
        "number-out-of-range",
        "0 is not between 1 and 100000",
        "",
    ),
    "a port past the last": (
        (("ports: [5432]", "ports: [§65536]"),),
        "port-out-of-range",
        "'65536': ports are numbers from 1 to 65535",
        "",
    ),
    "a range of ports that is reversed": (
        (("  ping: {p", '  x: {protocol: tcp, ports: [§"9-7"]}\n  ping: {p'),),
        "range-reversed",
        "the range '9-7' ends before it begins",
        'write "7-9"',
    ),
    "a network without a prefix": (
        (("[198.51.100.0/24,", "[§198.51.100.0,"),),
        "not-a-network",
        "'198.51.100.0' is not a network",
        "like '/24'",
    ),
    "a network with host bits": (
        (("[10.255.0.0/24,", "[§10.255.0.1/24,"),),
        "not-a-network",
        "'10.255.0.1/24' names an address inside of a network",
        "write '10.255.0.0/24'",
    ),
    "an address with a zone": (
        (('"fd00:1:0:4::10"', '§"fe80::1%eth0"'),),
        "not-an-address",
        "'fe80::1%eth0' has a zone",
        "write 'fe80::1'",
    ),
    "a reason of several lines": (
        (("{from: web, to: app}", '{from: web, to: app, reason: §"a\\nb"}'),),
        "text-not-printable",
        "line breaks",
        "one line",
    ),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_refused(sentence: str) -> None:
    edits, code, message, hint = REFUSED[sentence]
    problem = only_problem(edited(*edits))
    assert problem.code == code, problem
    assert message in problem.message
    assert hint in problem.hint
    assert problem.excerpt


def test_the_internet_never_faces_more_than_the_edge() -> None:
    """Neither by a flow nor by publishing; both are told."""
    text = edited(
        ("services: [app],", "services: [app, api],"),
        ("  ping: {p", "  api: {protocol: tcp, ports: [80]}\n  ping: {p"),
        ("  - {from: web, to: app}", "  - {from: internet, to: api}\n  - {from: web, to: app}"),
        ("published:\n", "published:\n  - {service: api, provider: north/alpha, address: 198.51.100.5}\n"),
    )
    problems = problems_of(text)
    assert [problem.code for problem in problems] == ["internet-beyond-edge", "published-beyond-edge"]
    assert "the internet may not face 'app': its segment's tier is front-end" in problems[0].message
    assert "only edge hosts may" in problems[0].hint
    assert "'app' is no edge host: its segment's tier is front-end" in problems[1].message


def test_many_faults_are_told_at_once_in_the_order_of_the_file() -> None:
    """One fault of every stage: YAML, form, names, addresses, flows, publishing."""
    text = edited(
        ("trust-domain: test.example", "trust-domain: Test!"),
        ("[10.2.0.0/16,", "[10.1.128.0/17, 10.2.0.0/16,"),
        ("[10.1.4.10,", "[10.1.4.1,"),
        ("  admin: {site", "  admn: {segment: admin}\n  admin: {site"),
        ("ping: {protocol: icmp}", "ping: {protocol: icmp, tls: mutual}"),
        ("{from: web, to: app}", "{from: wep, to: app}"),
        ("  - {from: app, to: orders}", "  - {from: web, to: orders}"),
        ("address: 198.51.100.4, port", "address: 198.51.100.1, port"),
    )
    problems = problems_of(text)
    assert [problem.code for problem in problems] == [
        "not-a-trust-domain",
        "networks-overlap",
        "address-reserved",
        "missing-key",
        "tls-without-tcp",
        "internet-mutual",
        "unknown-service",
        "back-end-open",
        "address-reserved",
    ]
    assert list(problems) == sorted(problems, key=lambda problem: problem.origin)


def test_what_was_refused_is_not_told_again_as_unknown() -> None:
    """A host, service, site or group that is not valid is known all the same."""
    text = edited(
        ("  app: {site: north, segment: front, services: [app]", "  app: {site: north, segmnt: front, services: [app]"),
        ("database: {protocol: tcp", "database: {protokol: tcp"),
        ("admins: {labels:", "admins: {lables:"),
        ("  - {from: web, to: app}", "  - {from: web, to: app}\n  - {from: host:app, to: orders, name: x}"),
    )
    problems = problems_of(text)
    assert [problem.code for problem in problems] == ["unknown-key", "unknown-key", "missing-key", "unknown-key"]
    assert [problem.origin.line for problem in problems] == [27, 33, 39, 39]


@pytest.mark.parametrize("name", ["orders-south-back", "north-r1-in-the-cellar"])
def test_a_name_that_looks_like_another_ones_interface_is_refused(name: str) -> None:
    """Long names are shortened to an interface with part of a hash; a short name may be just that."""
    twin = interface_name(name)
    text = SOUND.replace("[south-r1]", f"[{name}]") if "cellar" in name else SOUND
    problem = only_problem(
        text.replace("  admin: {site", f"  §{twin}: {{site: south, segment: back}}\n  admin: {{site")
    )
    assert problem.code == "interface-collision"
    assert f"would both be interface '{twin}' of the switch of segment south/back" in problem.message
