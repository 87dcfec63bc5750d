"""The server: any arm of a library over HTTP, as OpenAI's API has it, all arms in one continuous batch.

app.py      the routes: what is asked, checked and refused        schemas.py   what a body may hold
answer.py   one answer on its way: text, log p, routing, SSE      limits.py    keys, sizes, hosts, time-outs
service.py  from a body to a job (job.py)                         arms.py      from the name of a model to a seat
loop.py     the one thread that owns the model (seats.py)         shelf.py     the library, and what changes in it
run.py      uvicorn, and a graceful end                           metrics.py   what Prometheus is told
page/       the playground: one page, its style, its script
"""
