"""What every local Kafka is told, native or in a container; listeners are each one's own."""

SINGLE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    # A service that names a topic wrongly must fail as it does in production.
    "auto.create.topics.enable": "false",
    "unclean.leader.election.enable": "false",
    # Kept for ever, whatever a topic says nothing about.
    "log.retention.ms": "-1",
    "log.retention.bytes": "-1",
    # There is one broker. The internal topics are small here so that a start and a kill are quick.
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "4",
    # Nobody else will join the group: do not wait three seconds for them.
    "group.initial.rebalance.delay.ms": "0",
    # A killed broker is back at once; without these its own restart waits for nine seconds of silence first.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}
"""Settings of a node that is alone, broker and controller, for tests and for one machine."""
