"""The laptop: real programs in place of production's paid services. No service imports them."""
