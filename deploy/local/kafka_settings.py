"""Settings of a local Kafka, native or in a container, except for its listeners."""

SINGLE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    # A wrong topic name must fail as in production.
    "auto.create.topics.enable": "false",
    "unclean.leader.election.enable": "false",
    # Unlimited retention unless the topic configures it.
    "log.retention.ms": "-1",
    "log.retention.bytes": "-1",
    # One broker. Small internal topics make starts and recoveries fast.
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "4",
    # The group has one member: do not wait three seconds for others.
    "group.initial.rebalance.delay.ms": "0",
    # Without these a killed broker's restart waits until its old session expires, nine seconds.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}
"""One node that is broker and controller."""
