"""The web page: an application of its own that asks the HTTP API, as any other client does."""
