"""Kafka's own console consumer, a client that shares no code with the project."""

from __future__ import annotations

from deploy.local.kafka_jars import QUICK_START, java_command


def console_consumer(bootstrap: str, topic: str, *arguments: str) -> list[str]:
    """The command line that prints the records of `topic` to standard output.

    `arguments` are those of the tool: `--from-beginning`, `--max-messages`, `--timeout-ms`, `--property` ... Its errors
    go to standard error.
    """
    return java_command(
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
        *("--bootstrap-server", bootstrap, "--topic", topic, *arguments),
        options=("-Xmx256m", *QUICK_START),
        log_level="WARN",
    )
