"""
Images of this project without Docker: the Dockerfile, run on Debian packages and wheels.

Nothing about Kubernetes: what comes out are archives that containerd, kind and Docker read.
"""
