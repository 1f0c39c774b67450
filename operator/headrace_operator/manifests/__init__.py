"""Specs to the manifests that the operator creates, pure."""
