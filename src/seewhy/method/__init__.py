"""The paper, stage by stage. It asks for text through `Sampler` and knows nothing of transformers."""
