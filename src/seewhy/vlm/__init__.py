"""The vision-language model: loading, asking, sampling and tuning. It knows nothing of the method."""
