"""What of the Helm chart is generated: values, their schema and reference, CRDs, dashboards."""
