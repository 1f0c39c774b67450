"""The custom resources as types, one module a kind; `crds/` is generated from them. No behaviour, no client."""
