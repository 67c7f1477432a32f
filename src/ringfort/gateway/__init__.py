"""Where connections come in: enforcement points in front of services, the edge in front of customers' applications.

The first are `haproxy` (the identity check), `readback` and `glance`; the second `edge`, with certificates by `acme`.
Both are HAProxy: how one is started, changed and asked is in `process`, `runtime` and `material`.
"""
