"""The edge: where visitors from the internet reach customers' applications, under TLS and within limits.

`model` says what is public, `render` and `keepalived` turn that into configurations (values in, values out); `running`
applies them to the processes of this host, `servers` changes instances of applications without a failed request.
"""
