"""The kernel settings that the rulesets rely on (Linux, Documentation/networking/ip-sysctl.rst).

Keys are as sysctl(8) takes them. `BRIDGE` settings exist only where the module br_netfilter is loaded, and the
connection tracking ones only once a ruleset uses it: whoever applies them passes over what does not exist.
"""

from __future__ import annotations

from ringfort.environment.floating import held_by, interface_of
from ringfort.environment.model import Environment
from ringfort.environment.topology import HOST_INTERFACE, SANDBOX_GUEST, SANDBOX_UPLINK, Device, DeviceKind, legs

_EVERY_INTERFACE = {
    # Nobody tells a device another route than its own.
    "net.ipv4.conf.{}.accept_redirects": "0",
    "net.ipv6.conf.{}.accept_redirects": "0",
    "net.ipv4.conf.{}.send_redirects": "0",
    # No sender chooses the way: IPv4 source routes, IPv6 routing headers (-1 refuses all types).
    "net.ipv4.conf.{}.accept_source_route": "0",
    "net.ipv6.conf.{}.accept_source_route": "-1",
    # Addresses, routes and neighbours are configured: no router advertisements and no autoconfiguration.
    "net.ipv6.conf.{}.accept_ra": "0",
    "net.ipv6.conf.{}.autoconf": "0",
    # ARP answers for the address of its own interface only, and speaks with that address.
    "net.ipv4.conf.{}.arp_ignore": "1",
    "net.ipv4.conf.{}.arp_announce": "2",
}
"""Keys with a place for ``all``, ``default`` (interfaces to come) or the name of an interface."""

_EVERY_DEVICE = {
    # No link-local address (addr_gen_mode 1, RFC 4291's needs notwithstanding), so no neighbour discovery of our own.
    "net.ipv6.conf.default.addr_gen_mode": "1",
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.default.router_solicitations": "0",
    "net.ipv4.icmp_echo_ignore_broadcasts": "1",
}

_TRACKING = {
    # A connection begins with its first packet: one that is met half-way is invalid, not new.
    "net.netfilter.nf_conntrack_tcp_loose": "0",
    "net.netfilter.nf_conntrack_tcp_be_liberal": "0",
    "net.netfilter.nf_conntrack_checksum": "1",
}

_ROUTER = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    # The ruleset binds sources to interfaces, more strictly and before connection tracking; the reverse path filter
    # would also refuse what comes in by the provider that is not the default route.
    "net.ipv4.conf.{}.rp_filter": "0",
}

_HOST = {
    "net.ipv4.ip_forward": "0",
    "net.ipv6.conf.all.forwarding": "0",
    "net.ipv4.conf.{}.rp_filter": "1",
    "net.ipv4.tcp_syncookies": "1",
}

_HOLDER = {
    # Who may hold an address serves there before it holds it.
    "net.ipv4.ip_nonlocal_bind": "1",
    "net.ipv6.ip_nonlocal_bind": "1",
}

BRIDGE = {
    # A switch judges frames in the bridge family; packets must not be judged a second time as if routed.
    "net.bridge.bridge-nf-call-iptables": "0",
    "net.bridge.bridge-nf-call-ip6tables": "0",
    "net.bridge.bridge-nf-call-arptables": "0",
}

_SWITCH = {
    "net.ipv4.ip_forward": "0",
    "net.ipv6.conf.all.forwarding": "0",
    # The switch itself has no address and says nothing.
    "net.ipv6.conf.{}.disable_ipv6": "1",
}


def sysctl_settings(environment: Environment, device: Device) -> dict[str, str]:
    """Key -> value for ``device``, in the order in which to apply them (forwarding first: it resets others)."""
    match device.kind:
        case DeviceKind.ROUTER:
            interfaces = [leg.interface for leg in legs(environment, environment.routers[device.name].site)]
            return _settings({**_ROUTER, **_EVERY_INTERFACE, **_EVERY_DEVICE, **_TRACKING}, interfaces)
        case DeviceKind.SWITCH:
            return _settings({**_SWITCH, **_EVERY_INTERFACE, **_EVERY_DEVICE, **BRIDGE}, [])
        case DeviceKind.HOST:
            held = held_by(environment, device.name)
            interfaces = [HOST_INTERFACE, *map(interface_of, held)]
            some = _HOLDER if held else {}
            return _settings({**_HOST, **some, **_EVERY_INTERFACE, **_EVERY_DEVICE, **_TRACKING}, interfaces)
        case DeviceKind.SANDBOX:
            # It routes like a router, between two interfaces; it has no address, so it answers no ARP at all.
            interfaces = [SANDBOX_GUEST, SANDBOX_UPLINK]
            return _settings({**_ROUTER, **_EVERY_INTERFACE, **_EVERY_DEVICE, **_TRACKING}, interfaces)


def sysctl_text(environment: Environment, device: Device) -> str:
    """The settings as a file for ``sysctl --load``; a leading ``-`` lets it pass over what a kernel does not have."""
    settings = sysctl_settings(environment, device)
    return "".join(f"-{key} = {value}\n" for key, value in settings.items())


def _settings(patterns: dict[str, str], interfaces: list[str]) -> dict[str, str]:
    settings = {}
    for pattern, value in patterns.items():
        for place in ("all", "default", *interfaces) if "{}" in pattern else ("",):
            settings[pattern.format(place)] = value
    return settings
