"""What tests stand on: real servers, clusters, folders and records of old releases."""
