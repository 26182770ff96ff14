-- every option
SELECT *
FROM bags
