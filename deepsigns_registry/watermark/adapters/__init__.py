"""One file an adapter: an eager module and a `torch.export` program as tapped models."""
