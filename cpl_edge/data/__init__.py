"""Reading photos and making training data."""
