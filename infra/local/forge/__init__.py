"""A forge for the laptop: GitHub's REST operations that a promotion uses, git over HTTP and pages for reviewers, over one real bare repository."""
