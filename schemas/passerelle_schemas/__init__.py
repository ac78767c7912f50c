"""Contracts of the bus: Avro schemas, their wire format and the topics that carry them. Imports none of ours."""
