-- name: create_roles
-- The roles belong to the server and are shared by its databases. None can log in: grant them to users.
DO $$
DECLARE role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['ddor_owner', 'ddor_migrator', 'ddor_aggregator', 'ddor_publisher', 'ddor_reader', 'ddor_operator'] LOOP
        IF to_regrole(role) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- created at the same time for another database
            END;
        END IF;
    END LOOP;
    -- Without INHERIT: a migrator has no rights until it sets the role, as `ddor migrate` does.
    IF NOT EXISTS (
        SELECT FROM pg_auth_members
        WHERE roleid = 'ddor_owner'::regrole AND member = 'ddor_migrator'::regrole AND set_option AND NOT inherit_option
    ) THEN
        GRANT ddor_owner TO ddor_migrator WITH INHERIT FALSE, SET TRUE;
    END IF;
END $$

-- name: own_objects
-- The former owner of the schema becomes a member of ddor_owner, so a set-up with one user works as before.
DO $$
DECLARE former record; object record;
BEGIN
    SELECT r.rolname, r.rolsuper INTO former FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner WHERE n.nspname = 'ddor';
    IF NOT pg_has_role('ddor_owner', 'SET') THEN  -- superusers have every role
        GRANT ddor_owner TO CURRENT_USER WITH INHERIT TRUE, SET TRUE;
    END IF;
    IF former.rolname IS NULL THEN
        CREATE SCHEMA ddor AUTHORIZATION ddor_owner;
    ELSIF former.rolname <> 'ddor_owner' THEN
        IF NOT former.rolsuper THEN
            EXECUTE format('GRANT ddor_owner TO %I WITH INHERIT TRUE, SET TRUE', former.rolname);
        END IF;
        ALTER SCHEMA ddor OWNER TO ddor_owner;
    END IF;
    FOR object IN
        SELECT 'TABLE' AS kind, oid::regclass::text AS name FROM pg_class
        WHERE relnamespace = 'ddor'::regnamespace AND relkind IN ('r', 'p') AND relowner <> 'ddor_owner'::regrole
        UNION ALL
        SELECT 'VIEW', oid::regclass::text FROM pg_class
        WHERE relnamespace = 'ddor'::regnamespace AND relkind = 'v' AND relowner <> 'ddor_owner'::regrole
        UNION ALL
        SELECT 'FUNCTION', oid::regprocedure::text FROM pg_proc
        WHERE pronamespace = 'ddor'::regnamespace AND proowner <> 'ddor_owner'::regrole
        UNION ALL
        SELECT 'TYPE', oid::regtype::text FROM pg_type
        WHERE typnamespace = 'ddor'::regnamespace AND typtype = 'e' AND typowner <> 'ddor_owner'::regrole
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO ddor_owner', object.kind, object.name);
    END LOOP;
    -- Aggregators stage batches in temporary tables. `ddor verify` counts again in a schema of its own.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO ddor_owner, ddor_aggregator, ddor_operator', current_database());
    EXECUTE format('GRANT CREATE ON DATABASE %I TO ddor_operator', current_database());
    -- Without the right to grant, PostgreSQL only warns.
    IF NOT has_database_privilege('ddor_operator', current_database(), 'CREATE')
            OR has_database_privilege('ddor_reader', current_database(), 'TEMPORARY') THEN
        RAISE insufficient_privilege USING MESSAGE = format('must be owner of database %s', current_database());
    END IF;
END $$

-- name: grant_rights
-- What each role may do. docs/security.md has the same as a table; a test compares both with the database.
DO $$
BEGIN
    REVOKE ALL ON ALL TABLES IN SCHEMA ddor FROM PUBLIC, ddor_migrator, ddor_aggregator, ddor_publisher, ddor_reader, ddor_operator;
    REVOKE ALL ON ALL SEQUENCES IN SCHEMA ddor FROM PUBLIC, ddor_migrator, ddor_aggregator, ddor_publisher, ddor_reader, ddor_operator;
    REVOKE ALL ON SCHEMA ddor FROM PUBLIC, ddor_migrator, ddor_aggregator, ddor_publisher, ddor_reader, ddor_operator;
    GRANT USAGE ON SCHEMA ddor TO ddor_aggregator, ddor_publisher, ddor_reader, ddor_operator;

    -- The aggregator. FOR UPDATE needs UPDATE of one column: for rejects, one that it may write and delete anyway.
    GRANT SELECT, INSERT (name) ON agency TO ddor_aggregator;
    GRANT SELECT, INSERT,
        UPDATE (fingerprint, version, kafka_offset, week, partition, withdrawn, jurisdiction, form)
        ON ledger_entry TO ddor_aggregator;
    GRANT SELECT, INSERT ON history TO ddor_aggregator;
    GRANT SELECT, INSERT,
        UPDATE (issued_at, declined_at, recorded_at, operator, reason, citizenship, offenses)
        ON decline_detail TO ddor_aggregator;
    GRANT SELECT, INSERT ON attestation TO ddor_aggregator;
    GRANT SELECT, INSERT, UPDATE (n), DELETE ON weekly_counter TO ddor_aggregator;
    GRANT SELECT, INSERT (topic, partition),
        UPDATE (next_offset, epoch, owner, halted_reason, halted_offset, last_offset, last_digest, records, duplicates, rejected)
        ON partition_position TO ddor_aggregator;
    GRANT SELECT, INSERT, UPDATE (version) ON acceptance_rules TO ddor_aggregator;
    GRANT SELECT, INSERT, UPDATE (seen_at, backend_pid), DELETE ON worker TO ddor_aggregator;
    GRANT SELECT, INSERT (topic, partition, kafka_offset, reason, field, detail, sha256), UPDATE (detail), DELETE
        ON rejected TO ddor_aggregator;
    GRANT SELECT (topic, partition, kafka_offset, kept_until), INSERT (topic, partition, kafka_offset, value), UPDATE (value), DELETE
        ON rejected_raw TO ddor_aggregator;
    GRANT SELECT, INSERT, UPDATE (records) ON pruned_reject TO ddor_aggregator;
    GRANT INSERT (topic, key, value, headers, timestamp_ms, created_at) ON outbox TO ddor_aggregator;
    GRANT SELECT, INSERT (zone, starts_on, bounds_sha256, bounds), UPDATE (bounds_sha256, bounds)
        ON reporting_calendar TO ddor_aggregator;

    -- The publisher. It reads facts and writes reports; it cannot change either.
    GRANT SELECT ON agency, ledger_entry, history, decline_detail, attestation, attested, weekly_counter, partition_position,
        acceptance_rules, worker, pruned_reject, replaced_log, open_conflict, operator_action TO ddor_publisher;
    GRANT SELECT (topic, partition, kafka_offset, reason, redriven_to) ON rejected TO ddor_publisher;
    GRANT SELECT (version, content) ON policy_registry TO ddor_publisher;
    GRANT SELECT, INSERT (week, state, barrier), UPDATE (state, barrier, held_until, held_because)
        ON week_close TO ddor_publisher;
    GRANT INSERT (week, at, from_state, to_state, by, why) ON week_transition TO ddor_publisher;
    GRANT SELECT, INSERT (seen_at, backend_pid), UPDATE (seen_at, backend_pid) ON publisher_leader TO ddor_publisher;
    GRANT SELECT, INSERT (week, by, reason, requested_at, outcome), UPDATE (outcome) ON restatement_request TO ddor_publisher;
    GRANT SELECT, INSERT ON input TO ddor_publisher;
    GRANT SELECT, INSERT (week, revision, cause, digest, figures_digest, previous_digest, figures, published_at, sequence)
        ON report TO ddor_publisher;
    GRANT SELECT, INSERT ON published_figure TO ddor_publisher;
    GRANT SELECT, INSERT (week, revision, mode, sha256, content, cells) ON line_list TO ddor_publisher;
    GRANT SELECT, INSERT (topic, key, value, headers, timestamp_ms, created_at, sent_at, sent_offset),
        UPDATE (sent_at, sent_offset), DELETE ON outbox TO ddor_publisher;
    GRANT SELECT, INSERT (week, records, is_sample, outcome) ON verification TO ddor_publisher;
    GRANT SELECT, INSERT, UPDATE (next_offset, records, duplicates, rejected) ON proven_position TO ddor_publisher;
    GRANT SELECT, INSERT (at, by, records, seconds, outcome) ON audit TO ddor_publisher;
    GRANT SELECT, INSERT (zone, starts_on, bounds_sha256, bounds), UPDATE (bounds_sha256, bounds)
        ON reporting_calendar TO ddor_publisher;

    -- The pages, and `ddor site`. Pending counts are sums of a week, without jurisdictions.
    GRANT SELECT ON report, published_figure, reporting_calendar TO ddor_reader;
    GRANT SELECT (week, state) ON week_close TO ddor_reader;
    GRANT SELECT (week, kind, n) ON weekly_counter TO ddor_reader;
    GRANT SELECT (week, sha256, content) ON line_list TO ddor_reader;
    GRANT SELECT (topic, value, sent_offset) ON outbox TO ddor_reader;

    -- The commands of operators. `ddor recover` writes reports, so it needs ddor_publisher too.
    GRANT SELECT ON agency, ledger_entry, history, attestation, attested, ledger, open_conflict, weekly_counter, partition_position,
        acceptance_rules, worker, rejected, rejected_raw, pruned_reject, replaced_log, operator_action, week_close, week_transition,
        publisher_leader, restatement_request, input, report, published_figure, line_list, outbox, verification, policy_registry,
        reporting_calendar, proven_position, audit TO ddor_operator;
    GRANT INSERT (at, by, records, seconds, outcome) ON audit TO ddor_operator;
    GRANT INSERT (by, action, subject, detail) ON operator_action TO ddor_operator;
    GRANT INSERT (week, state), UPDATE (released_by, released_at, release_note) ON week_close TO ddor_operator;
    GRANT INSERT (week, at, from_state, to_state, by, why) ON week_transition TO ddor_operator;
    GRANT INSERT (week, by, reason, requested_at) ON restatement_request TO ddor_operator;
    GRANT UPDATE (content, cells, withdrawn_at, withdrawn_by, withdrawn_why) ON line_list TO ddor_operator;
    GRANT UPDATE (verified_at, outcome) ON verification TO ddor_operator;
    GRANT INSERT (version, loaded_at, loaded_by, sha256, file_sha256, content, contacts), UPDATE (contacts)
        ON policy_registry TO ddor_operator;
    GRANT UPDATE (kafka_offset, redriven_at, redriven_to) ON rejected TO ddor_operator;
    GRANT UPDATE (kafka_offset), DELETE ON rejected_raw TO ddor_operator;
    GRANT UPDATE (next_offset, epoch, owner, halted_reason, halted_offset, resumed_offset, last_offset, last_digest)
        ON partition_position TO ddor_operator;
    -- `ddor resume --at 0` after a log was replaced: offsets move, and nothing else of a fact.
    GRANT UPDATE (kafka_offset) ON ledger_entry, history, attestation TO ddor_operator;
    GRANT UPDATE (from_offset) ON acceptance_rules TO ddor_operator;
    GRANT INSERT (topic, partition, ended_at, after_report) ON replaced_log TO ddor_operator;
END $$
