-- One row for each flight that left New York in 2013 and arrived where it was going.
--
-- Left out, because they have no label: 8,255 cancelled flights and 1,175 diverted ones, of 336,776. The model therefore answers:
-- if this flight flies and arrives, how likely is it more than 15 minutes late? Nobody knows beforehand which flights will be cancelled.
--
-- Every feature is known an hour before the scheduled departure. The weather is the latest observation at the origin by then, at most
-- three hours older than the departure; where there is none its columns are NULL, as they are when a phone leaves them out.
WITH departures AS (
    SELECT
        -- time_hour is UTC and cut to the hour, so the clock changes of March and November are already right
        time_hour + to_minutes(minute) AS scheduled_departure,
        make_date(year, month, day) AS departure_date,      -- local: the rows of one day share their luck
        *
    FROM flights
    WHERE arr_delay IS NOT NULL
)

SELECT
    printf('%s %s%d %s %04d', departures.departure_date, carrier, flight, departures.origin, sched_dep_time) AS flight_key,
    departures.scheduled_departure,
    departures.departure_date,
    arr_delay > 15 AS delayed,
    carrier,
    departures.origin,
    dest AS destination,
    distance,
    departures.hour + minute / 60 AS departure_hour,
    sched_arr_time // 100 + (sched_arr_time % 100) / 60 AS arrival_hour,
    isodow(departures.departure_date) AS weekday,
    recent.temp AS temperature,
    recent.humid AS humidity,
    recent.wind_speed,
    recent.precip AS precipitation,
    recent.pressure,
    recent.visib AS visibility
FROM departures
ASOF LEFT JOIN (SELECT *, time_hour + INTERVAL 1 HOUR AS known_for_departures_from FROM weather) AS latest
    ON departures.origin = latest.origin AND departures.scheduled_departure >= latest.known_for_departures_from
LEFT JOIN weather AS recent
    ON recent.origin = latest.origin AND recent.time_hour = latest.time_hour AND latest.time_hour >= departures.scheduled_departure - INTERVAL 3 HOUR
