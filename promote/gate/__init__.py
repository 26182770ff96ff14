"""Whether a challenger may replace the champion: rules, harm, and the words for people. Pure."""
