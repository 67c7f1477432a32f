"""Who everybody is: certificates with SPIFFE names, issued, renewed, revoked, and verified at every connection.

A root that is kept away, one issuing authority for each site, leaf certificates that live for hours. All of it is pure
and takes the time as an argument, but for `ringfort.identity.store` (files) and `ringfort.identity.tls` (OpenSSL).
"""
