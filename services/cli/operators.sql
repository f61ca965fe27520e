-- name: partition
SELECT next_offset, halted_reason, halted_offset, owner FROM partition_position WHERE topic = $1 AND partition = $2

-- name: lock_resuming
-- One command at a time resumes a partition. It does not lock the row: replacing a log takes minutes, during which the
-- partition's worker may need the row to release its lease.
SELECT pg_advisory_xact_lock(hashtextextended('ddor-resume/' || $1, 0))

-- name: resume
-- The new epoch fences what a worker may have decoded from this partition. If the position moves, the digest of the last
-- record is cleared, because the log may have been replaced.
UPDATE partition_position SET
    halted_reason = NULL, halted_offset = NULL, owner = NULL, epoch = epoch + 1,
    next_offset = COALESCE($3, next_offset), resumed_offset = COALESCE($3, next_offset),
    last_offset = CASE WHEN $3::bigint IS NULL THEN last_offset END,
    last_digest = CASE WHEN $3::bigint IS NULL THEN last_digest END
WHERE topic = $1 AND partition = $2 AND halted_reason IS NOT NULL
RETURNING next_offset

-- name: replace_log
-- The log that was read up to offset $3 was replaced: move its records to offsets below 0.
WITH counted AS (
    UPDATE ledger_entry SET kafka_offset = kafka_offset - $3 WHERE 'detainer-' || kind::text = $1 AND partition = $2
), displaced AS (
    UPDATE history SET kafka_offset = kafka_offset - $3 WHERE 'detainer-' || kind::text = $1 AND partition = $2
), attested AS (
    UPDATE attestation SET kafka_offset = kafka_offset - $3 WHERE 'week-attested' = $1 AND partition = $2
), redriven AS (
    UPDATE rejected SET redriven_to = $1 || '/' || $2 || '/' || split_part(redriven_to, '/', 3)::bigint - $3
    WHERE starts_with(redriven_to, $1 || '/' || $2 || '/')
)
INSERT INTO replaced_log (topic, partition, ended_at, after_report)
VALUES ($1::text, $2::integer, $3::bigint, (SELECT COALESCE(max(sequence), 0) FROM report))

-- name: move_offsets
-- The tables in which the offset is part of the key. $3 is large enough that no row gets the key of another one.
WITH rejects AS (
    UPDATE rejected SET kafka_offset = kafka_offset + $3::bigint WHERE topic = $1 AND partition = $2
), raw AS (
    UPDATE rejected_raw SET kafka_offset = kafka_offset + $3::bigint WHERE topic = $1 AND partition = $2
)
UPDATE acceptance_rules SET from_offset = from_offset + $3::bigint WHERE topic = $1 AND partition = $2

-- name: replaced_logs
SELECT topic || '/' || partition AS partition, replaced_at FROM replaced_log ORDER BY replaced_at

-- name: week_reports
-- The newest revision of each of these weeks; unless $2, only if no message of the week is unsent.
SELECT DISTINCT ON (week) week, revision, figures -> 'totals' AS totals, figures -> 'top' -> 0 AS top FROM report
WHERE week = ANY ($1::date[]) AND ($2 OR NOT EXISTS (
    SELECT FROM outbox
    WHERE sent_at IS NULL AND topic IN ('report-ready', 'report-latest') AND key = convert_to(week::text, 'UTF8')
))
ORDER BY week, revision DESC

-- name: held_because
SELECT held_because FROM week_close WHERE week = $1

-- name: add_action
INSERT INTO operator_action (by, action, subject, detail) VALUES ($1, $2, $3, $4)

-- name: lock_policies
-- One command at a time adds a version.
SELECT pg_advisory_xact_lock(hashtextextended('ddor-policies/' || current_schema(), 0))

-- name: policy_versions
SELECT version, loaded_at, loaded_by, sha256, content FROM policy_registry ORDER BY version DESC

-- name: policy_version
SELECT version, loaded_at, loaded_by, sha256, content, contacts FROM policy_registry
WHERE version = COALESCE($1, (SELECT max(version) FROM policy_registry))

-- name: add_policies
INSERT INTO policy_registry (version, loaded_at, loaded_by, sha256, file_sha256, content, contacts)
VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: facts_of
-- All facts of one detainer. `in_ledger` marks those of the ledger.
SELECT f.kind::text AS kind, a.name AS agency, f.version, f.fingerprint, f.week, f.jurisdiction, f.withdrawn,
       'detainer-' || f.kind::text AS topic, f.partition, f.kafka_offset, f.in_ledger
FROM (
    SELECT kind, agency, version, fingerprint, week, jurisdiction, withdrawn, partition, kafka_offset, true AS in_ledger
    FROM ledger_entry WHERE detainer_id = $1 AND kind = ANY (enum_range(NULL::detainer_kind)) AND agency = ANY ($2::smallint[])
    UNION ALL
    SELECT kind, agency, version, fingerprint, week, jurisdiction, withdrawn, partition, kafka_offset, false
    FROM history WHERE detainer_id = $1 AND kind = ANY (enum_range(NULL::detainer_kind)) AND agency = ANY ($2::smallint[])
) AS f JOIN agency a ON a.id = f.agency
ORDER BY kind, agency, version DESC, fingerprint DESC

-- name: attestations
-- All attestations of an agency's week, the one in effect first.
SELECT t.version, t.fingerprint, t.issued, t.declined, t.partition, t.kafka_offset
FROM attestation t JOIN agency a ON a.id = t.agency WHERE a.name = $1 AND t.week = $2
ORDER BY t.version DESC, t.fingerprint DESC

-- name: agencies
SELECT id FROM agency ORDER BY id

-- name: vectors
SELECT week, revision, offsets_now(figures -> 'offsets', sequence) AS offsets FROM report WHERE week = ANY ($1::date[]) ORDER BY week, revision

-- name: reject
SELECT r.topic, r.partition, r.kafka_offset, r.reason, r.field, r.detail, r.sha256, r.rejected_at, r.redriven_at,
       r.redriven_to, raw.value, raw.kept_until
FROM rejected r LEFT JOIN rejected_raw raw USING (topic, partition, kafka_offset)
WHERE r.topic = $1 AND r.partition = $2 AND r.kafka_offset = $3

-- name: pruned
SELECT records FROM pruned_reject WHERE topic = $1 AND partition = $2

-- name: rejects
SELECT topic, partition, kafka_offset, reason, field, detail, rejected_at, redriven_to FROM rejected
WHERE ($1::text IS NULL OR reason = $1) ORDER BY rejected_at DESC, topic, partition, kafka_offset DESC LIMIT $2

-- name: rejects_to_redrive
SELECT topic, partition, kafka_offset FROM rejected
WHERE reason = $1 AND redriven_at IS NULL ORDER BY topic, partition, kafka_offset

-- name: lock_reject
SELECT redriven_to, sha256 FROM rejected WHERE topic = $1 AND partition = $2 AND kafka_offset = $3 FOR UPDATE

-- name: mark_redriven
UPDATE rejected SET redriven_at = now(), redriven_to = $4 WHERE topic = $1 AND partition = $2 AND kafka_offset = $3

-- name: acceptance_rules
SELECT topic, partition, from_offset, version FROM acceptance_rules ORDER BY topic, partition, from_offset

-- name: redriven
SELECT topic, partition, kafka_offset, redriven_to FROM rejected WHERE redriven_to IS NOT NULL

-- name: failed
SELECT topic, partition, kafka_offset FROM rejected WHERE reason = $1

-- name: lock_scratch
SELECT pg_advisory_lock(hashtextextended('ddor-verify/' || $1, 0))

-- name: scratch_schemas
-- The schemas that `ddor verify` created, by their comment, and that this role can drop.
SELECT nspname AS name, format('DROP SCHEMA IF EXISTS %I CASCADE', nspname) AS drop FROM pg_namespace
WHERE nspname ~ '^ddor_verify_[0-9a-f]{16}$' AND obj_description(oid, 'pg_namespace') = $1
  AND pg_has_role(nspowner, 'USAGE')

-- name: try_scratch
SELECT pg_try_advisory_lock(hashtextextended('ddor-verify/' || $1, 0))

-- name: unlock_scratch
SELECT pg_advisory_unlock(hashtextextended('ddor-verify/' || $1, 0))

-- name: own_all
INSERT INTO partition_position (topic, partition, epoch, owner)
SELECT topic, partition, 1, $1 FROM unnest($2::text[], $3::integer[]) AS known (topic, partition)

-- name: resume_all
UPDATE partition_position SET halted_reason = NULL, resumed_offset = next_offset WHERE halted_reason IS NOT NULL

-- name: knew
-- The vectors of the week's first report and of the revision before $2, in offsets of the current logs.
SELECT offsets_now(figures -> 'offsets', sequence) AS offsets FROM report
WHERE week = $1 AND revision < $2 AND revision IN (1, $2 - 1) ORDER BY revision

-- name: verified
UPDATE verification SET outcome = '', verified_at = now() WHERE week = $1
