"""
How replicas share the namespaces: who holds which shard, and the engine of each shard that is held.

    ring.py      the Leases: who is alive, who holds what, what is taken and given back
    routes.py    from one watch a kind to the engines of the shards that are held
    operator.py  an operator whose replicas share the work

Belongs here: what there is only because there are shards. What a shard's engine does is the same as without any.
"""
