"""The demo's model: a small CNN, trained without any thought of a watermark."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepsigns_registry.watermark.data import TrainingData

__all__ = ["SmallCnn", "train_model"]


class SmallCnn(nn.Module):
    """Two convolutions and two dense layers.

    Args:
        side: Height and width of the images, an even number.
        classes: Number of classes.
    """

    def __init__(self, side: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.hidden = nn.Sequential(nn.Linear(32 * (side // 2) ** 2, 256), nn.ReLU())
        self.head = nn.Linear(256, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images [batch, 1, side, side] to logits [batch, classes]."""
        logits: Tensor = self.head(self.hidden(self.features(images)))
        return logits


def train_model(
    data: TrainingData,
    *,
    epochs: int,
    seed: int,
    progress: Callable[[float, str], None],
    batch_size: int = 64,
) -> SmallCnn:
    """Trains the model with Adam at 1e-3.

    Returns:
        The model, on the processor, in evaluation mode.
    """
    torch.manual_seed(seed)
    model = SmallCnn(data.train.inputs.shape[-1], data.classes)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).train()
    inputs, labels = torch.from_numpy(data.train.inputs), torch.from_numpy(data.train.labels)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        order = torch.randperm(len(labels), generator=generator)
        batches = order.split(batch_size)
        for number, batch in enumerate(batches):
            optimizer.zero_grad(set_to_none=True)
            logits = model(inputs[batch].to(device))
            functional.cross_entropy(logits, labels[batch].to(device)).backward()
            optimizer.step()
            if number % 20 == 0:
                done = (epoch + number / len(batches)) / epochs
                progress(done, f"epoch {epoch + 1} of {epochs}")
    return model.to("cpu").eval()
