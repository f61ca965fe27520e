-- name: create_staging
CREATE TEMP TABLE IF NOT EXISTS incoming (
    detainer_id uuid, fingerprint bytea, version bigint, kafka_offset bigint, kind detainer_kind, week date,
    agency smallint, partition smallint, withdrawn boolean, jurisdiction text, form text, winner boolean
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS lost (LIKE incoming) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS incoming_decline (
    detainer_id uuid, agency smallint, partition smallint, kafka_offset bigint, issued_at timestamptz,
    declined_at timestamptz, recorded_at timestamptz, operator text, reason text, citizenship text, offenses text[]
) ON COMMIT DELETE ROWS

-- name: known_agencies
SELECT id, name FROM agency WHERE name = ANY($1::text[])

-- name: add_agencies
INSERT INTO agency (name) SELECT name FROM unnest($1::text[]) AS name ORDER BY name ON CONFLICT DO NOTHING

-- name: lock_claims
-- Locks in order of topic and partition, so that two batches never deadlock.
SELECT p.topic, p.partition, p.owner, p.epoch, p.next_offset, p.halted_reason
FROM partition_position p
JOIN unnest($1::text[], $2::integer[]) AS claim (topic, partition) USING (topic, partition)
ORDER BY p.topic, p.partition
FOR UPDATE OF p

-- name: upsert_winners
-- One statement: upsert winners into the ledger, move displaced facts to the history, adjust the counters by the
-- difference, and put the facts that did not win into the table lost.
WITH won AS (
    INSERT INTO ledger_entry AS l (detainer_id, fingerprint, version, kafka_offset, kind, week, agency, partition,
                                   withdrawn, jurisdiction, form)
    SELECT detainer_id, fingerprint, version, kafka_offset, kind, week, agency, partition, withdrawn, jurisdiction, form
    FROM incoming WHERE winner
    ORDER BY kind, agency, detainer_id
    ON CONFLICT (kind, agency, detainer_id) DO UPDATE SET
        fingerprint = EXCLUDED.fingerprint, version = EXCLUDED.version, kafka_offset = EXCLUDED.kafka_offset,
        week = EXCLUDED.week, partition = EXCLUDED.partition, withdrawn = EXCLUDED.withdrawn,
        jurisdiction = EXCLUDED.jurisdiction, form = EXCLUDED.form
    WHERE (l.version, l.fingerprint) < (EXCLUDED.version, EXCLUDED.fingerprint)
    RETURNING new.kind, new.agency, new.detainer_id, new.partition, new.week, new.jurisdiction, new.withdrawn,
              old.version AS old_version, old.fingerprint AS old_fingerprint, old.kafka_offset AS old_offset,
              old.week AS old_week, old.partition AS old_partition, old.withdrawn AS old_withdrawn,
              old.jurisdiction AS old_jurisdiction, old.form AS old_form
), displaced AS (
    INSERT INTO history (detainer_id, fingerprint, version, kafka_offset, kind, week, agency, partition, withdrawn,
                         jurisdiction, form)
    SELECT detainer_id, old_fingerprint, old_version, old_offset, kind, old_week, agency, old_partition, old_withdrawn,
           old_jurisdiction, old_form
    FROM won WHERE old_version IS NOT NULL
), difference AS (
    SELECT week, jurisdiction, kind, sum(n) AS n
    FROM (
        SELECT week, jurisdiction, kind, 1 AS n FROM won WHERE NOT withdrawn
        UNION ALL
        SELECT old_week, old_jurisdiction, kind, -1 FROM won WHERE old_version IS NOT NULL AND NOT old_withdrawn
    ) AS change (week, jurisdiction, kind, n)
    GROUP BY week, jurisdiction, kind HAVING sum(n) <> 0
), counted AS (
    INSERT INTO weekly_counter AS c (week, jurisdiction, kind, n)
    SELECT week, jurisdiction, kind::text, n FROM difference ORDER BY week, jurisdiction, kind::text
    ON CONFLICT (week, jurisdiction, kind) DO UPDATE SET n = c.n + EXCLUDED.n
    RETURNING c.n
), set_aside AS (
    INSERT INTO lost SELECT i.* FROM incoming i
    LEFT JOIN won w ON i.winner AND w.kind = i.kind AND w.agency = i.agency AND w.detainer_id = i.detainer_id
    WHERE w.kind IS NULL
)
SELECT 'detainer-' || kind::text AS topic, partition::integer AS partition, count(*) AS won,
       (SELECT count(*) FROM counted WHERE n = 0) AS zeros, (SELECT count(*) FROM counted WHERE n < 0) AS negatives
FROM won GROUP BY kind, partition

-- name: drop_zero_counters
DELETE FROM weekly_counter WHERE n = 0

-- name: insert_history
-- Inserts the accepted facts that did not win and are new. Facts that are already in the ledger or the history are duplicates.
WITH added AS (
    INSERT INTO history (detainer_id, fingerprint, version, kafka_offset, kind, week, agency, partition, withdrawn,
                         jurisdiction, form)
    SELECT i.detainer_id, i.fingerprint, i.version, i.kafka_offset, i.kind, i.week, i.agency, i.partition, i.withdrawn,
           i.jurisdiction, i.form
    FROM lost i
    CROSS JOIN LATERAL (
        -- OFFSET 0 forces one index lookup for each row. The staging table has no statistics, so the planner might scan
        -- the whole ledger, which grows with each batch.
        SELECT version, fingerprint FROM ledger_entry
        WHERE kind = i.kind AND agency = i.agency AND detainer_id = i.detainer_id OFFSET 0
    ) AS l
    WHERE (i.version, i.fingerprint) < (l.version, l.fingerprint)
    ORDER BY i.kind, i.agency, i.detainer_id, i.version, i.fingerprint
    ON CONFLICT DO NOTHING
    RETURNING kind, partition
)
SELECT 'detainer-' || kind::text AS topic, partition::integer AS partition, count(*) AS added FROM added GROUP BY kind, partition

-- name: upsert_declines
INSERT INTO decline_detail AS d (detainer_id, agency, issued_at, declined_at, recorded_at, operator, reason, citizenship, offenses)
SELECT i.detainer_id, i.agency, i.issued_at, i.declined_at, i.recorded_at, i.operator, i.reason, i.citizenship, i.offenses
FROM incoming_decline i
CROSS JOIN LATERAL (
    SELECT partition, kafka_offset FROM ledger_entry
    WHERE kind = 'declined' AND agency = i.agency AND detainer_id = i.detainer_id OFFSET 0
) AS l
WHERE l.partition = i.partition AND l.kafka_offset = i.kafka_offset
ORDER BY i.agency, i.detainer_id
ON CONFLICT (agency, detainer_id) DO UPDATE SET
    issued_at = EXCLUDED.issued_at, declined_at = EXCLUDED.declined_at, recorded_at = EXCLUDED.recorded_at,
    operator = EXCLUDED.operator, reason = EXCLUDED.reason, citizenship = EXCLUDED.citizenship, offenses = EXCLUDED.offenses

-- name: insert_attestations
-- Inserts all versions. The view attested selects the current one.
INSERT INTO attestation (agency, week, version, fingerprint, issued, declined, partition, kafka_offset)
SELECT * FROM unnest($1::smallint[], $2::date[], $3::bigint[], $4::bytea[], $5::integer[], $6::integer[], $7::integer[], $8::bigint[])
    AS listed (agency, week, version, fingerprint, issued, declined, partition, kafka_offset)
ORDER BY partition, kafka_offset
ON CONFLICT DO NOTHING
RETURNING partition

-- name: insert_rejects
INSERT INTO rejected (topic, partition, kafka_offset, reason, field, detail, sha256)
SELECT * FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bytea[])

-- name: insert_raw
INSERT INTO rejected_raw (topic, partition, kafka_offset, value)
SELECT * FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bytea[])

-- name: purge
-- Skips rows that another session has locked.
DELETE FROM rejected_raw r
USING (
    SELECT topic, partition, kafka_offset FROM rejected_raw
    WHERE kept_until <= least($1, now()) ORDER BY kept_until LIMIT $2 FOR UPDATE SKIP LOCKED
) AS over
WHERE (r.topic, r.partition, r.kafka_offset) = (over.topic, over.partition, over.kafka_offset)

-- name: prune_rejects
-- Deletes rejects after 400 days by PostgreSQL's clock, except internal errors, which a replay cannot reproduce, and
-- redriven rejects, which explain a revision. Adds the number to pruned_reject. Skips rows that another session has locked.
WITH over AS (
    SELECT topic, partition, kafka_offset FROM rejected
    WHERE rejected_at <= least($1, now()) - interval '400 days'
      AND redriven_at IS NULL AND reason <> 'internal_error'
    ORDER BY rejected_at LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM rejected r USING over
    WHERE (r.topic, r.partition, r.kafka_offset) = (over.topic, over.partition, over.kafka_offset)
    RETURNING r.topic, r.partition
)
INSERT INTO pruned_reject AS p (topic, partition, records)
SELECT topic, partition, count(*) FROM gone GROUP BY topic, partition ORDER BY topic, partition
ON CONFLICT (topic, partition) DO UPDATE SET records = p.records + EXCLUDED.records
RETURNING new.records - COALESCE(old.records, 0) AS pruned

-- name: announce_rejects
INSERT INTO outbox (topic, key, value, headers, timestamp_ms, created_at)
SELECT 'detainer-rejected', key, value, jsonb_build_object('content-type', $3::text, 'id', id), $5, $6
FROM unnest($1::bytea[], $2::bytea[], $4::text[]) AS notice (key, value, id)

-- name: halt_broken
-- The circuit breaker halts a partition after $3 internal errors since the last resume, or above $5 rejects in the last
-- $4 offsets. It runs in the transaction of the records that cause the halt, so the halt survives a restart. It reads at
-- most $3 internal errors, by their own index, and the rejects of the last $4 offsets.
UPDATE partition_position p SET halted_offset = p.next_offset, halted_reason =
    CASE WHEN seen.internal >= $3 THEN 'InternalErrors: ' || seen.internal || ' records caused an internal error'
         ELSE 'TooManyRejects: ' || seen.recent || ' of the last ' || $4 || ' offsets were rejected' END
FROM (
    SELECT q.topic, q.partition, few.n AS internal, late.n AS recent
    FROM partition_position q
    JOIN unnest($1::text[], $2::integer[]) AS judged (topic, partition) USING (topic, partition)
    CROSS JOIN LATERAL (
        SELECT count(*) AS n FROM (
            SELECT FROM rejected r WHERE r.topic = q.topic AND r.partition = q.partition
                AND r.kafka_offset >= q.resumed_offset AND r.reason = 'internal_error' LIMIT $3
        ) AS enough
    ) AS few
    CROSS JOIN LATERAL (
        SELECT count(*) AS n FROM rejected r WHERE r.topic = q.topic AND r.partition = q.partition
            AND r.kafka_offset >= greatest(q.resumed_offset, q.next_offset - $4)
    ) AS late
) AS seen
WHERE p.topic = seen.topic AND p.partition = seen.partition AND (seen.internal >= $3 OR seen.recent > $5)
RETURNING p.topic, p.partition, p.halted_reason

-- name: advance_positions
UPDATE partition_position p
SET next_offset = moved.next_offset, records = p.records + moved.records, rejected = p.rejected + moved.rejected,
    duplicates = p.duplicates + moved.duplicates,
    last_offset = COALESCE(moved.last_offset, p.last_offset), last_digest = COALESCE(moved.last_digest, p.last_digest)
FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bytea[])
     AS moved (topic, partition, next_offset, records, rejected, duplicates, last_offset, last_digest)
WHERE p.topic = moved.topic AND p.partition = moved.partition

-- name: add_partitions
INSERT INTO partition_position (topic, partition)
SELECT topic, partition FROM unnest($1::text[], $2::integer[]) AS known (topic, partition) ON CONFLICT DO NOTHING

-- name: try_name
SELECT pg_try_advisory_lock(hashtextextended('ddor-aggregator/' || $1, 0)) AS held

-- name: stale_session
-- The session of a process with this name whose heartbeat has expired: the process is stopped or cut off.
SELECT backend_pid FROM worker WHERE name = $1 AND seen_at < clock_timestamp() - $2::interval

-- name: terminate_session
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid = $1 AND datname = current_database() AND application_name = 'ddor-aggregator-lease' AND pid <> pg_backend_pid()

-- name: heartbeat
INSERT INTO worker (name, seen_at, backend_pid) VALUES ($1, clock_timestamp(), pg_backend_pid())
ON CONFLICT (name) DO UPDATE SET seen_at = EXCLUDED.seen_at, backend_pid = EXCLUDED.backend_pid

-- name: sign_off
DELETE FROM worker WHERE name = $1

-- name: delete_old_workers
-- Deletes workers that ended without signing off. A stopped process keeps its session and its name; its row is needed to
-- terminate that session.
DELETE FROM worker w WHERE seen_at < clock_timestamp() - interval '1 day' AND NOT EXISTS (
    SELECT FROM pg_stat_activity a WHERE a.pid = w.backend_pid AND a.application_name = 'ddor-aggregator-lease')

-- name: workers
SELECT name, seen_at, clock_timestamp() AS now FROM worker

-- name: leases
SELECT topic, partition, owner, epoch, next_offset, last_offset, last_digest, halted_reason FROM partition_position

-- name: acquire
-- Skips rows that a batch has locked until the next renewal: their owner is alive. The new owner reads by its own version
-- of the acceptance rules; a change of version is recorded.
WITH acquired AS (
    UPDATE partition_position p SET owner = $1, epoch = p.epoch + 1
    FROM (
        SELECT q.topic, q.partition FROM partition_position q
        JOIN unnest($2::text[], $3::integer[], $4::bigint[]) AS seen (topic, partition, epoch) USING (topic, partition, epoch)
        ORDER BY q.topic, q.partition FOR UPDATE OF q SKIP LOCKED
    ) AS free
    WHERE p.topic = free.topic AND p.partition = free.partition
    RETURNING p.topic, p.partition, p.epoch, p.next_offset
), recorded AS (
    INSERT INTO acceptance_rules (topic, partition, from_offset, version)
    SELECT topic, partition, next_offset, $5::integer FROM acquired t
    WHERE $5::integer IS DISTINCT FROM (
        SELECT version FROM acceptance_rules r WHERE r.topic = t.topic AND r.partition = t.partition
        ORDER BY from_offset DESC LIMIT 1
    )
    ON CONFLICT (topic, partition, from_offset) DO UPDATE SET version = EXCLUDED.version
)
SELECT topic, partition, epoch FROM acquired

-- name: release
UPDATE partition_position SET owner = NULL
WHERE owner = $1 AND (topic, partition) IN (SELECT * FROM unnest($2::text[], $3::integer[]))

-- name: release_unlocked
-- Skips rows that a batch has locked until the next renewal.
UPDATE partition_position p SET owner = NULL
FROM (
    SELECT q.topic, q.partition FROM partition_position q
    JOIN unnest($2::text[], $3::integer[]) AS mine (topic, partition) USING (topic, partition)
    WHERE q.owner = $1 ORDER BY q.topic, q.partition FOR UPDATE OF q SKIP LOCKED
) AS idle
WHERE p.topic = idle.topic AND p.partition = idle.partition

-- name: halt
-- Skips a row that a batch has locked: the caller detects the reason again.
UPDATE partition_position p SET halted_reason = $4, halted_offset = p.next_offset
FROM (
    SELECT topic, partition FROM partition_position WHERE topic = $1 AND partition = $2 AND epoch = $3
    FOR UPDATE SKIP LOCKED
) AS idle
WHERE p.topic = idle.topic AND p.partition = idle.partition
