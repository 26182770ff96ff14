"""`python -m infra.local.demo`: one whole turn of the loop on this machine, then further weeks."""
