"""Celery over Redis: how work reaches workers on other machines.

    pump, pumping   keep a bounded window of messages for jobs that are due (in the service)
    redis_carrier   puts them into Redis
    app             the Celery application: one task, `trajc.work(job, attempt)`, and two queues
    hints           which messages a worker reads
    process         what a worker process holds: one event loop, one engine
    worker, watch   `trajc worker`: a Celery worker around such processes, and its end
    compiling       a compilation in a worker's own process

The database is the backlog and the truth. A message is a hint that holds two ids: losing Redis, whole, loses nothing,
and a message that comes twice, late or never changes only when a job is claimed.
"""
