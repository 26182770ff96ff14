"""A forge for the laptop, over one real bare repository.

It has the REST operations of GitHub that a promotion uses, git over HTTP, and pages for reviewers.
"""
