"""Networks that judge pictures: read from local folders of safetensors and JSON, run without gradients."""
