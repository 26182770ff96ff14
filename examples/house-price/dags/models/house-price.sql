-- One row for each house that was sold in King County from May 2014 to May 2015.
--
-- A house may be sold twice, so the key holds the day. The seller knows every feature before the sale. Missing: the asked
-- price. A model with it would repeat it.
SELECT
    printf('%d %s', id, date) AS sale_key,
    date::TIMESTAMP AT TIME ZONE 'UTC' AS sold_at,
    date AS sale_date,                                  -- the sales of one day share their luck
    price,
    bedrooms,
    bathrooms,
    sqft_living AS living_area,
    sqft_lot AS lot_area,
    floors,
    waterfront,
    view AS view_grade,
    condition AS condition_grade,
    grade AS building_grade,
    yr_built AS built_year,
    zipcode::VARCHAR AS zip_code,
    lat AS latitude,
    long AS longitude,
    sqft_living15 AS living_area_nearby
FROM house_prices
