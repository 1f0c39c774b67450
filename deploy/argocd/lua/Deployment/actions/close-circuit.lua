local os = require("os")
obj.metadata.annotations = obj.metadata.annotations or {}
-- Any value that is new closes it once.
obj.metadata.annotations["headrace.dev/circuit-reset"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
