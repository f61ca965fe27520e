"""Real Apache Kafka and PostgreSQL on this machine, and the three services on top of them.

Start reading at :mod:`deploy.local.parts` (which Kafka, which PostgreSQL) and :mod:`deploy.local.stack`
(the services). ``python -m deploy.local up`` is both from the command line.
"""
