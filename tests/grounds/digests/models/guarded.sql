SELECT *, dayofweek(ordered_at) AS weekday FROM orders;
