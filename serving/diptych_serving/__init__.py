"""The Ray Serve application: gateway and engine."""
