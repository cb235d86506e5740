"""Images and transforms whose truth is known, for tests, demonstrations and training."""
