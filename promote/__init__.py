"""Promote: a reconciler that turns a challenger the evidence supports into a pull request, and follows its rollout."""
