"""The controller: one API over mutual TLS, the platform's state in a database, an audit record for every change.

``operations`` say what each call does, ``routes`` which there are, ``policies/*.cedar`` who may make them. `server` and
`listening` speak HTTP and TLS, `writer` groups changes into transactions, `publisher` carries records to the audit log.
"""
