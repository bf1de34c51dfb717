PRAGMA cache_size = -200000;
CREATE TABLE numbers(id INTEGER PRIMARY KEY, value INTEGER, text TEXT);
BEGIN IMMEDIATE;
SELECT writefile('started', 'x') * 0;
WITH RECURSIVE counting(id, value) AS (
    SELECT 1, 1 UNION ALL SELECT id + 1, value * 48271 % 2147483647 FROM counting WHERE id < 300000 * @SCALE@)
INSERT INTO numbers SELECT id, value, printf('%x', value) FROM counting;
CREATE INDEX by_text ON numbers(text);
COMMIT;
SELECT 'RESULT ' || count(*) || ' ' || sum(value) || ' ' || max(text) FROM numbers;
PRAGMA integrity_check;
