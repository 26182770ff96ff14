"""Images: their bytes, their names, and the registries that hold them."""
