"""What a GPU does with the whole package: its tests, 7B models of random weights, the demo (`python -m bench.gpu`)."""
