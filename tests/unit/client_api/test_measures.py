"""The gateway's measures: names and units follow Prometheus' rules."""

from __future__ import annotations

from client_api.measures import Measures


def samples(measures: Measures) -> dict[str, float]:
    lines = measures.to_bytes().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def test_queues_of_one_release_are_summed_at_scrape_time():
    queues = [("m", "8", 3, 1), ("m", "8", 4, 0), ("m", "9", 0, 5)]
    told = samples(Measures(lambda: queues))
    assert told['gateway_waiting_rows{model="m",version="8"}'] == 7
    assert told['gateway_in_flight_rows{model="m",version="8"}'] == 1
    assert told['gateway_in_flight_rows{model="m",version="9"}'] == 5


def test_build_info_says_version_and_revision():
    told = samples(Measures(list, version="1.2.3", revision="abc"))
    assert told['gateway_build_info{revision="abc",version="1.2.3"}'] == 1


def test_every_name_has_the_prefix_and_a_base_unit():
    measures = Measures(list)
    measures.count("m", "8", 200, 0.02)
    measures.block("m", 5)
    told = samples(measures)
    assert told['gateway_requests_total{model="m",status="200",version="8"}'] == 1
    assert told['gateway_request_duration_seconds_count{model="m"}'] == 1
    assert told['gateway_block_rows_sum{model="m"}'] == 5
    assert all(name.startswith("gateway_") for name in told)
