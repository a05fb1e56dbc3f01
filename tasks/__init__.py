"""The stages: thin Prefect tasks that read references, call one function of `gan`, and write references."""
