"""Publishing an environment: signed by people, served by anybody, believed by nobody who has not checked it.

The environment is the one target of a TUF repository (https://theupdateframework.github.io/specification/latest/).
"""
