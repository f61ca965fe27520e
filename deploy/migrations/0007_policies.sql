-- Versions of the registry of policies limiting detainers. A report uses the newest and names its digest; versions are never
-- deleted. `content` is the input of a report: canonical JSON, without contacts. `contacts`: by jurisdiction and first valid
-- day. They are in no input and no report, so that a contact can be removed without breaking a digest.
CREATE TABLE policy_registry (
    version     integer     PRIMARY KEY CHECK (version >= 1),
    loaded_at   timestamptz NOT NULL,
    loaded_by   text        NOT NULL,
    sha256      text        NOT NULL,
    file_sha256 text        NOT NULL,
    content     bytea       NOT NULL,
    contacts    jsonb       NOT NULL
);
COMMENT ON COLUMN policy_registry.sha256 IS 'of content: the input jurisdiction_policies of the reports that used it';
