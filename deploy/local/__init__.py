"""Kafka, PostgreSQL and the three services on this machine, for demonstrations and tests. Not part of the wheel.

Start with :mod:`deploy.local.parts`, which chooses Kafka and PostgreSQL, and :mod:`deploy.local.stack`, which runs the
services. The command line is ``python -m deploy.local``.
"""
