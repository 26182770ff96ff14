-- lines end with \r\n
SELECT *
FROM odd -- żółć
