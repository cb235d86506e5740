"""Networks: layers and whole networks that turn images into features or transforms."""
