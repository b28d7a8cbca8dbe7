"""DiffusionDeployment: from what is seen to a plan. Pure; manifests are made next door."""
