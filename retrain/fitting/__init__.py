"""From rows to a network: fit every technique, choose one, export it, prove the export."""
