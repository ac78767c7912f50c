"""The policy core: agreements, flows, standing, decide. Pure: no I/O beyond reading its own documents, no clock."""
