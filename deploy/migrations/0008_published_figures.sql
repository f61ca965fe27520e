-- The totals of a report as columns. The list, the trend and the feed read them, and need no document.
ALTER TABLE report
    ADD COLUMN issued integer NOT NULL GENERATED ALWAYS AS ((figures -> 'totals' ->> 'issued')::integer) STORED,
    ADD COLUMN declined integer NOT NULL GENERATED ALWAYS AS ((figures -> 'totals' ->> 'declined')::integer) STORED,
    ADD COLUMN demonstration boolean GENERATED ALWAYS AS ((figures ->> 'demonstration')::boolean) STORED;

-- The figures of each revision as rows, for the series of a jurisdiction. The statement that writes a report writes them.
CREATE TABLE published_figure (
    week     date    NOT NULL,
    revision integer NOT NULL,
    geoid    text    NOT NULL,
    issued   integer,
    declined integer,
    PRIMARY KEY (week, revision, geoid) INCLUDE (issued, declined),
    FOREIGN KEY (week, revision) REFERENCES report
);
COMMENT ON TABLE published_figure IS 'a row for each jurisdiction in a revision; a null number is unknown';
INSERT INTO published_figure (week, revision, geoid, issued, declined)
SELECT week, revision, one ->> 'geoid', (one ->> 'issued')::integer, (one ->> 'declined')::integer
FROM report, jsonb_array_elements(figures -> 'jurisdictions') AS one;
