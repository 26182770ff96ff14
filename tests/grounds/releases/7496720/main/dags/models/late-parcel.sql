SELECT * FROM parcels
