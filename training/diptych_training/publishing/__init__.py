"""What others need of an artifact, in one parcel: to the Hugging Face hub, an object store, a folder or a registry."""
