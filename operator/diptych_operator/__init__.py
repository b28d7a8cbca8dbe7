"""The operator that watches the resources and owns RayJobs and RayServices."""
