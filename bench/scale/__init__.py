"""SeeWhy's own part at 1,000 to a million images, with a stand-in for the model (`python -m bench.scale`)."""
