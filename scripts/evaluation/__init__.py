"""`scripts/evaluate`: the serving decision replayed over labelled pairs and streams."""
