"""The gRPC API, version 1: images.proto and what `make proto` generates from it."""
