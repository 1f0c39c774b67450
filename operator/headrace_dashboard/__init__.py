"""
The web page: runs, deployments and what stands around them, live, with the rights of whoever looks.

    settings.py   every knob, HEADRACE_DASHBOARD_<NAME>
    access/       who somebody is and what they may do: tokens, proxies, reviews of rights, forgery
    watching/     one list-and-watch stream a kind, held as slim records; news of what has changed
    recorded.py   the history store, asked in threads, for so long at most
    pages/        data to HTML, pure: no client, no clock, no loop
    routes/       one module a page: checks, reads, hands over to pages/
    static/       style, scripts, icon; nothing comes from elsewhere
    server.py     the table of routes, put together

To add a page: a module in pages/ that turns records into HTML, a module in routes/ with its `ROUTES`, a line in the table of
server.py and, to be found, one in `pages.layout.NAVIGATION`. A route of one object names the right that it needs
(`Route.needs`), and is never called without it; a list asks `Visit.scope()` which namespaces it may show. Of the operator
nothing is imported but how it cuts Backfills into partitions, which is pure.
"""
