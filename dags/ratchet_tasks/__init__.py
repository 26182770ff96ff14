"""The tasks of the DAGs. Airflow parses no file of this folder (`.airflowignore`)."""
