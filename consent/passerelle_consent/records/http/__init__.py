"""The consent service over HTTP: the application, who may call what, and a router for each matter."""
