"""Celery over Redis: how work reaches workers on other machines.

    pump      keeps a bounded window of messages in Redis for jobs that are due (runs in the service)
    app       the Celery application: one task, `trajc.work(job, attempt)`, and two queues
    process   what a worker process holds: one event loop, one engine

The database is the backlog and the truth. A message is a hint that holds two ids: losing Redis, whole, loses nothing,
and a message that comes twice, late or never changes only when a job is claimed.
"""
