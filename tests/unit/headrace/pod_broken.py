"""A flow whose module cannot be imported."""

import no_such_module

main = no_such_module.main
