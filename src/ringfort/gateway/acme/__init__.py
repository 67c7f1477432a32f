"""Certificates for public names by ACME (RFC 8555): ordinary clients get and renew them, knowing nothing of Ringfort.

`authority` signs (a root and an issuer of their own), `jws` and `nonces` say who speaks, `service` does on `store` what
they ask for, `validation` asks the gateway whether a name is theirs, `server` is the HTTP side.
"""
