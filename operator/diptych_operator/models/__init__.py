"""DiffusionModel: which version a name stands for, and why. Pure: it looks at jobs and plans a status."""
