-- What the aggregator knows: facts, counters, positions. What the publisher has said: reports, and what is still to send.

CREATE TYPE detainer_kind AS ENUM ('issued', 'declined');

CREATE TABLE agency (
    id   smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE
);
COMMENT ON TABLE agency IS 'Short numbers for agencies, so that the ledger stays narrow.';

-- The winning fact of each identity. partition and kafka_offset say which record brought it (the topic follows from kind).
CREATE TABLE ledger_entry (
    detainer_id  uuid          NOT NULL,
    fingerprint  bytea         NOT NULL,
    version      bigint        NOT NULL CHECK (version >= 1),
    kafka_offset bigint        NOT NULL,
    kind         detainer_kind NOT NULL,
    week         date          NOT NULL,
    agency       smallint      NOT NULL REFERENCES agency,
    partition    smallint      NOT NULL,
    withdrawn    boolean       NOT NULL,
    jurisdiction text COLLATE "C" NOT NULL,
    form         text COLLATE "C",
    PRIMARY KEY (kind, agency, detainer_id)
);
CREATE INDEX ledger_entry_week ON ledger_entry USING brin (week);
CREATE INDEX ledger_entry_offset ON ledger_entry USING brin (kafka_offset);

-- All other facts ever accepted.
CREATE TABLE history (
    detainer_id  uuid          NOT NULL,
    fingerprint  bytea         NOT NULL,
    version      bigint        NOT NULL CHECK (version >= 1),
    kafka_offset bigint        NOT NULL,
    kind         detainer_kind NOT NULL,
    week         date          NOT NULL,
    agency       smallint      NOT NULL REFERENCES agency,
    partition    smallint      NOT NULL,
    withdrawn    boolean       NOT NULL,
    jurisdiction text COLLATE "C" NOT NULL,
    form         text COLLATE "C",
    PRIMARY KEY (kind, agency, detainer_id, version, fingerprint)
);
CREATE INDEX history_week ON history (week);

-- Details of the winning fact of each decline, for the national tables.
CREATE TABLE decline_detail (
    detainer_id uuid        NOT NULL,
    agency      smallint    NOT NULL REFERENCES agency,
    issued_at   timestamptz NOT NULL,
    declined_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    operator    text        NOT NULL,
    reason      text,
    citizenship text,
    offenses    text[],
    PRIMARY KEY (agency, detainer_id)
);
COMMENT ON COLUMN decline_detail.offenses IS 'category:basis, sorted; null = not known, empty = none recorded';

-- What agencies say that they sent of a week: every version ever accepted.
CREATE TABLE attestation (
    agency       smallint NOT NULL REFERENCES agency,
    week         date     NOT NULL,
    version      bigint   NOT NULL CHECK (version >= 1),
    fingerprint  bytea    NOT NULL,
    issued       integer,
    declined     integer,
    partition    integer  NOT NULL,
    kafka_offset bigint   NOT NULL,
    PRIMARY KEY (week, agency, version, fingerprint)
);

CREATE VIEW attested AS
SELECT DISTINCT ON (t.week, t.agency) t.week, a.name AS agency, t.version, t.fingerprint, t.issued, t.declined, t.partition, t.kafka_offset
FROM attestation t JOIN agency a ON a.id = t.agency
ORDER BY t.week, t.agency, t.version DESC, t.fingerprint DESC;
COMMENT ON VIEW attested IS 'for each agency and week the attestation of the highest (version, fingerprint)';

CREATE TABLE weekly_counter (
    week         date   NOT NULL,
    jurisdiction text COLLATE "C" NOT NULL,
    kind         text COLLATE "C" NOT NULL,
    n            bigint NOT NULL,
    PRIMARY KEY (week, jurisdiction, kind)
);
CREATE INDEX weekly_counter_at_zero ON weekly_counter (week) WHERE n = 0;

-- Position and lease of each partition: one row, so that one lock fences both.
CREATE TABLE partition_position (
    topic         text    NOT NULL,
    partition     integer NOT NULL,
    next_offset   bigint  NOT NULL DEFAULT 0 CHECK (next_offset >= 0),
    epoch         bigint  NOT NULL DEFAULT 0,
    owner         text,
    halted_reason text,
    halted_offset bigint,
    resumed_offset bigint  NOT NULL DEFAULT 0,
    last_offset   bigint,
    last_digest   bytea,
    records       bigint  NOT NULL DEFAULT 0,
    duplicates    bigint  NOT NULL DEFAULT 0,
    rejected      bigint  NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);
COMMENT ON COLUMN partition_position.resumed_offset IS 'where an operator let it go on; rejects before it no longer halt';
COMMENT ON COLUMN partition_position.last_digest IS 'SHA-256 of the last record read (at last_offset): shows that the log is still the same log';

CREATE TABLE acceptance_rules (
    topic       text    NOT NULL,
    partition   integer NOT NULL,
    from_offset bigint  NOT NULL,
    version     integer NOT NULL,
    PRIMARY KEY (topic, partition, from_offset)
);
COMMENT ON TABLE acceptance_rules IS 'by which version of the acceptance rules a partition was read, from which offset on';

CREATE TABLE worker (
    name        text PRIMARY KEY,
    seen_at     timestamptz NOT NULL,
    backend_pid integer     NOT NULL
);

CREATE TABLE rejected (
    topic        text    NOT NULL,
    partition    integer NOT NULL,
    kafka_offset bigint  NOT NULL,
    reason       text    NOT NULL,
    field        text,
    detail       text    NOT NULL,
    sha256       bytea   NOT NULL,
    rejected_at  timestamptz NOT NULL DEFAULT now(),
    redriven_at  timestamptz,
    redriven_to  text,
    PRIMARY KEY (topic, partition, kafka_offset)
);
COMMENT ON COLUMN rejected.detail IS 'says which rule was broken; never quotes a value';

CREATE TABLE rejected_raw (
    topic        text    NOT NULL,
    partition    integer NOT NULL,
    kafka_offset bigint  NOT NULL,
    value        bytea   NOT NULL,
    kept_until   timestamptz NOT NULL DEFAULT now() + interval '90 days',
    PRIMARY KEY (topic, partition, kafka_offset)
);
COMMENT ON TABLE rejected_raw IS 'for operators only; only what cannot hold personal data is kept';

CREATE TABLE operator_action (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    by      text  NOT NULL,
    action  text  NOT NULL,
    subject text  NOT NULL,
    detail  jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE operator_action IS 'what operators did: resume, redrive, purge, close';

CREATE VIEW ledger AS
SELECT l.kind::text AS kind, a.name AS agency, l.detainer_id, l.version, l.fingerprint, l.week, l.jurisdiction,
       l.withdrawn, l.form, 'detainer-' || l.kind::text AS topic, l.partition, l.kafka_offset
FROM ledger_entry l JOIN agency a ON a.id = l.agency;

CREATE VIEW open_conflict AS
SELECT l.kind::text AS kind, a.name AS agency, l.detainer_id, l.version, count(*) + 1 AS fingerprints
FROM history h
JOIN ledger_entry l USING (kind, agency, detainer_id, version)
JOIN agency a ON a.id = l.agency
GROUP BY l.kind, a.name, l.detainer_id, l.version;
COMMENT ON VIEW open_conflict IS 'one version with two contents, and no higher version yet';

-- A week on its way to its first report; see services/publisher/closing.py for the states.
CREATE TABLE week_close (
    week         date PRIMARY KEY,
    state        text NOT NULL CHECK (state IN ('requested', 'draining', 'halted', 'held', 'closed', 'published', 'final')),
    barrier      jsonb,
    held_until   timestamptz,
    held_because jsonb NOT NULL DEFAULT '[]',
    released_by  text,
    released_at  timestamptz,
    release_note text,
    CHECK (state = 'requested' OR barrier IS NOT NULL)
);

CREATE TABLE week_transition (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    week       date NOT NULL,
    at         timestamptz NOT NULL,
    from_state text NOT NULL,
    to_state   text NOT NULL,
    by         text NOT NULL,
    why        text NOT NULL
);
CREATE INDEX week_transition_week ON week_transition (week, id);

-- The one publisher that closes and sends. A leader that no longer heartbeats is cut off by the next.
CREATE TABLE publisher_leader (
    singleton   boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    seen_at     timestamptz NOT NULL,
    backend_pid integer NOT NULL
);

-- A revision that an operator asked for; done when the report is written.
CREATE TABLE restatement_request (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    week         date NOT NULL,
    by           text NOT NULL,
    reason       text NOT NULL,
    requested_at timestamptz NOT NULL,
    outcome      text
);

CREATE TABLE input (
    sha256  text PRIMARY KEY,
    name    text NOT NULL,
    content bytea NOT NULL
);
COMMENT ON TABLE input IS 'what a report used besides the log: registry, code lists, agencies; kept by digest';

CREATE TABLE report (
    week            date    NOT NULL,
    revision        integer NOT NULL CHECK (revision >= 1),
    cause           text    NOT NULL CHECK (cause IN ('initial', 'scheduled', 'correction')),
    digest          text    NOT NULL,
    figures_digest  text    NOT NULL,
    previous_digest text,
    figures         jsonb   NOT NULL,
    published_at    timestamptz NOT NULL,
    sequence        bigint NOT NULL UNIQUE,
    PRIMARY KEY (week, revision)
);
COMMENT ON COLUMN report.sequence IS 'order of writing; previous_digest is that of the report before';

-- Line lists of declines, beside the reports that name their digests: so that one can be withdrawn and the chain stands.
CREATE TABLE line_list (
    week          date    NOT NULL,
    revision      integer NOT NULL,
    mode          text    NOT NULL CHECK (mode IN ('coarse', 'full')),
    sha256        text    NOT NULL,
    content       bytea,
    cells         jsonb   NOT NULL,
    withdrawn_at  timestamptz,
    withdrawn_by  text,
    withdrawn_why text,
    PRIMARY KEY (week, revision),
    FOREIGN KEY (week, revision) REFERENCES report (week, revision),
    CHECK ((content IS NULL) = (withdrawn_at IS NOT NULL))
);
COMMENT ON COLUMN line_list.cells IS 'true numbers of a coarse list, also below five: never published, only compared with the next';

CREATE TABLE outbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic        text   NOT NULL,
    key          bytea  NOT NULL,
    value        bytea  NOT NULL,
    headers      jsonb  NOT NULL,
    timestamp_ms bigint NOT NULL,
    created_at   timestamptz NOT NULL,
    sent_at      timestamptz,
    sent_offset  bigint
);
CREATE INDEX outbox_unsent ON outbox (id) WHERE sent_at IS NULL;
