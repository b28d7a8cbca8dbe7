"""Data in: from a folder or an archive to checked, captioned and split pictures."""
