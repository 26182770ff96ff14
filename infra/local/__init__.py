"""The laptop: real programs that stand where a paid service stands in production. No service imports from here."""
