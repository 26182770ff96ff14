"""Where rows come from: one module for each engine."""
