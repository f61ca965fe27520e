-- The totals of a report as columns. The list, the trend and the feed read them, and need no document.
ALTER TABLE report
    ADD COLUMN issued integer NOT NULL GENERATED ALWAYS AS ((figures -> 'totals' ->> 'issued')::integer) STORED,
    ADD COLUMN declined integer NOT NULL GENERATED ALWAYS AS ((figures -> 'totals' ->> 'declined')::integer) STORED,
    ADD COLUMN demonstration boolean GENERATED ALWAYS AS ((figures ->> 'demonstration')::boolean) STORED;
