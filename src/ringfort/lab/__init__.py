"""An environment on one machine: namespaces, bridges, veth pairs, addresses, rulesets, and real listening services."""
