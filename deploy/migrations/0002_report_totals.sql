-- What a list of reports shows, beside the document of some 100 kB that it is taken from.
ALTER TABLE report
    ADD COLUMN totals        jsonb   GENERATED ALWAYS AS (figures -> 'totals') STORED,
    ADD COLUMN demonstration boolean GENERATED ALWAYS AS ((figures ->> 'demonstration')::boolean) STORED;
